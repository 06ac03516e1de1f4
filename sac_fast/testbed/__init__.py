"""A zoo of stolen and independent models, trained on the spot: `sac-fast testbed`."""
