"""Calibration: from readings back to what was read."""
