"""Random effects of groups: eliminated from the rows, and found again from the posterior."""
