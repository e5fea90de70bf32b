"""Hamiltonian Monte Carlo in NumPy, of scales alone: coefficients are integrated out."""
