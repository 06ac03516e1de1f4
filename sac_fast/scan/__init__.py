"""Running many models in worker processes with limits."""
