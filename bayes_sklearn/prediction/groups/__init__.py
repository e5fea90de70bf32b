"""Predictions of rows in groups."""
