"""sac_fast."""
