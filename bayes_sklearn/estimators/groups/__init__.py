"""What is learned of groups, for the estimator."""
