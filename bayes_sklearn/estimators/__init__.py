"""What users call: the regressor, its fits and predictions, batches, exports and searches."""
