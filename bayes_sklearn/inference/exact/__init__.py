"""The posterior without draws: the normal likelihood, and features that are known."""
