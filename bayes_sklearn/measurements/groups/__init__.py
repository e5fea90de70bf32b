"""Rows that hang together: which group each is of."""
