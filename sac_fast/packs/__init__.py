"""Packs: answers of independents to a published probe set, in one file that a hash pins."""
