"""Sealed container, atomic files, hashing, text for terminals, progress."""
