"""Grounds of a verdict on one suspect."""
