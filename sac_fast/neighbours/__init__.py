"""Neighbours among very many models, on NumPy and the compiled module alone: no torch is imported."""
