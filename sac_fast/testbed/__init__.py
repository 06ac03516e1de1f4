"""A labelled zoo trained on built-in or own images: `sac-fast testbed`."""
