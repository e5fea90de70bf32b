"""The cases of errors of y that go together: beside statsmodels' generalised least squares, and of shared errors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import statsmodels.api as sm

from bayes_sklearn import BayesianErrorsInVariablesRegressor

from .measure import Result, ratios

__all__ = ["against_least_squares", "shared_against_independent"]


def against_least_squares(noise: str) -> Callable[..., Result]:
    """Return a case that times a fit with a covariance that fades with the distance of rows, over GLS' fit."""

    def run(rows: int, columns: int, repeats: int) -> Result:
        rng = np.random.default_rng(0)
        place, X = rng.uniform(0.0, 10.0, rows), rng.normal(size=(rows, columns))
        covariance = np.exp(-2.0 * np.abs(place[:, None] - place)) + 0.1 * np.eye(rows)
        y = X @ np.linspace(0.0, 1.0, columns) + np.linalg.cholesky(covariance) @ rng.normal(size=rows)
        model = BayesianErrorsInVariablesRegressor(noise=noise)
        return ratios(
            lambda: model.fit(X, y, y_cov=covariance),
            lambda: sm.GLS(y, sm.add_constant(X), sigma=covariance).fit(),
            repeats,
        )

    return run


def shared_against_independent(rows: int, columns: int, nights: int, repeats: int) -> Result:
    """Time a fit with the zero points of some nights over one without."""
    rng = np.random.default_rng(0)
    X, night, error = rng.normal(size=(rows, columns)), np.arange(rows) % nights, rng.uniform(0.5, 1.0, rows)
    shared = 0.5 * (night[:, None] == np.arange(nights))
    y = X.sum(axis=1) + shared @ rng.normal(size=nights) + error * rng.normal(size=rows)
    model = BayesianErrorsInVariablesRegressor()
    return ratios(
        lambda: model.fit(X, y, y_err=error, y_shared_err=shared),
        lambda: model.fit(X, y, y_err=error),
        repeats,
    )
