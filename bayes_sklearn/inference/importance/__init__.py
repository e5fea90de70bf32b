"""Importance sampling: other likelihoods, and features with errors."""
