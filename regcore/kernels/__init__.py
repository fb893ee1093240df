"""Compiled loops over voxels; public functions check and allocate, kernels only compute."""
