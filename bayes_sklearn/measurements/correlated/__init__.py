"""Errors of the target that go together from row to row: checked, and taken apart."""
