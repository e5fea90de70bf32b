"""NUTS by PyMC: the reference, and what nothing else can take."""
