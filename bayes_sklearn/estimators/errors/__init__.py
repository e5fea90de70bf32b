"""Errors that are stated as functions, settled."""
