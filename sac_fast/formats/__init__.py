"""Readers of files from untrusted sources, with limits; no torch modules are built here."""
