"""What was measured: X and y as they were given, their errors and counts, and rows that are compressed."""
