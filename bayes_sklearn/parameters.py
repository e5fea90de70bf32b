"""scikit-learn's base of estimators, priors and likelihoods, which reads signatures once."""

from __future__ import annotations

from functools import cache

from sklearn.base import BaseEstimator

__all__ = ["Parametrized"]


class Parametrized(BaseEstimator):
    """What has parameters: their names are looked up once a class, not at every clone and fit."""

    @classmethod
    @cache
    def _get_param_names(cls) -> list[str]:
        names: list[str] = super()._get_param_names()
        return names
