"""The model in PyMC, for people."""
