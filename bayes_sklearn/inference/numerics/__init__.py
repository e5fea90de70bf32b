"""Integrals: by quadrature, by importance sampling, and functions that are interpolated."""
