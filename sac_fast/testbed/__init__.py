"""A zoo of stolen and independent models, trained on the spot: `sac-fast testbed`."""

#: The largest seed of a demo or a test bed: each model's is its 10,000-fold and more, and torch takes 64 bits.
MAX_SEED = 2**48 - 1
