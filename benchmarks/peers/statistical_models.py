"""statsmodels: weighted least squares with its prediction intervals, and the binomial GLM."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .fits import COVERAGE, Drawn, Fit, StudentT
from .linear_models import precision
from .tasks import Rows, Task

__all__ = ["glm", "wls"]

_DRAWS = 1000


def wls(task: Task) -> Callable[[Rows], Fit]:
    from statsmodels.api import WLS, add_constant

    def fit(train: Rows) -> Fit:
        found = WLS(train.y, add_constant(train.X), weights=precision(train, task)).fit()

        def predict(rows: Rows) -> StudentT:
            new = add_constant(rows.X, has_constant="add")
            predicted = found.get_prediction(new, weights=precision(rows, task))
            return StudentT(predicted.predicted_mean, predicted.se_obs, found.df_resid)

        return Fit(
            predict=predict,
            slopes=found.params[1:],
            slope_interval=lambda: found.conf_int(1.0 - COVERAGE)[1:],
        )

    return fit


def glm(task: Task) -> Callable[[Rows], Fit]:
    """Fit the binomial GLM; new measurements are binomial at the fitted share, as `get_distribution` has them."""
    from statsmodels.api import GLM, add_constant, families

    def fit(train: Rows) -> Fit:
        successes = np.rint(train.y * train.counts)
        table = np.column_stack([successes, train.counts - successes])
        found = GLM(table, add_constant(train.X), family=families.Binomial()).fit()

        def predict(rows: Rows) -> Drawn:
            counts = rows.counts.astype(int)
            table = add_constant(rows.X, has_constant="add")
            new = found.get_distribution(table, n_trials=counts)
            rng = np.random.default_rng(0)
            return Drawn(found.predict(table), new.rvs(size=(_DRAWS, len(counts)), random_state=rng) / counts)

        return Fit(predict=predict, doubts=lambda: "" if found.converged else "not converged")

    return fit
