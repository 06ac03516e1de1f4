"""Verdicts on one suspect, by fingerprints or by a preset's score."""
