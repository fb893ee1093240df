"""Measurements of regcore beside other tools, on real images: ``python -m benchmarks --help``."""
