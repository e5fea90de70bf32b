"""What a likelihood says of rows whose linear predictor is itself normal: the integral over it."""
