"""Errors of features: the model of the true ones, and what it makes of a row."""
