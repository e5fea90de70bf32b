"""Predictions where errors of new rows go with those of the training rows."""
