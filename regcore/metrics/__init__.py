"""Similarity measures: ``value_and_gradient(fixed, warped, weights)``, smaller is better, no state."""
