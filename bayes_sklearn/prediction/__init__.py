"""What is predicted, and how sure it is."""
