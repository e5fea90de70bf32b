"""Plots of two methods that measured the same samples."""
