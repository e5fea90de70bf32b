"""Errors that are stated as functions of what is measured."""
