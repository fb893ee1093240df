"""Regularisers of vector fields: ``value_and_gradient(field, spacing, ...)``, smaller is smoother, no state.

All take a displacement or velocity field u in voxels and measure ``w = s u``, the same field in millimetres
along the axes of its grid, so that the value does not depend on how finely or how anisotropically the grid
samples it. They return the mean over the voxels of a density, and its exact derivative with respect to u.
Derivatives are forward differences; at the faces the field is free, and a singleton axis has no derivative.
"""
