"""Launchers of the CUDA kernels."""
