"""What a fit has found, as tables."""
