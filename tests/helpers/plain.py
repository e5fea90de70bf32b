"""The estimator with priors and noise that are written out, for tests of what engines make of a model."""

from typing import Any

from bayes_sklearn import BayesianErrorsInVariablesRegressor, Normal

__all__ = ["Regressor"]


def Regressor(**parameters: Any) -> BayesianErrorsInVariablesRegressor:
    """Return the estimator with standard normal priors and errors that are multiplied, unless others are given."""
    written = {"coef_prior": Normal(), "intercept_prior": Normal(), "noise": "scaled"}
    likelihood = parameters.get("likelihood", "normal")
    if getattr(likelihood, "name", likelihood) in ("binomial", "beta_binomial", "beta"):
        del written["intercept_prior"]
    given = {name: value for name, value in parameters.items() if value is not None or name not in written}
    return BayesianErrorsInVariablesRegressor(**{**written, **given})
