"""What all displays share: axes, inks, rows and columns."""
