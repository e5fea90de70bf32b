"""Fits and predictions of tables in blocks."""

from .fits import fit, predict, predict_interval, predict_quantiles

__all__ = ["fit", "predict", "predict_interval", "predict_quantiles"]
