"""Proportions without counts: beta distributions, log odds of the line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, betaincc, betaln, expit, psi, xlog1py, xlogy, zeta

from ..priors.base import ScalePrior, UnitPrior
from ..priors.coefficients import Normal, PoweredCorrelation
from ..priors.scales import Beta, HalfNormal
from .base import Derivatives, Likelihood, Observations
from .links import LOGIT
from .noise import Noise
from .parameters import Auxiliary, LogOdds, given_prior

__all__ = [
    "LEAST_DISPERSION",
    "LOG_ODDS",
    "SLOPES",
    "TINY",
    "BetaLikelihood",
    "resolved_dispersion_prior",
    "shapes_graph",
]

Array = NDArray[np.float64]

# Numbers that are divided by, and shapes of distributions, stay this far from zero.
TINY = 1e-100

LEAST_DISPERSION = 1e-10

# The log odds of a typical row. Down to shares of 1e-5 it adds less than half a success; a wider one takes rows
# without successes for rarer than their trials can tell.
LOG_ODDS = Normal(0.0, 5.0)

# Where successes and failures are separated, data bound the coefficients' scale from below alone; with the tail of a
# HalfCauchy coefficients would have no mean.
SLOPES = PoweredCorrelation(sigma=HalfNormal(2.5))


class BetaLikelihood(Likelihood):
    """Proportions without counts, strictly between 0 and 1: by a beta distribution about the line's share.

    With mean mu and dispersion rho it has alpha = mu (1 - rho) / rho and beta = (1 - mu) (1 - rho) / rho, so that the
    variance is mu (1 - mu) rho, and the precision of beta regression (Ferrari & Cribari-Neto 2004, J. Appl. Stat.
    31:799-815), alpha + beta, is (1 - rho) / rho. It is what underlies the counts of `BetaBinomialLikelihood`.

    Parameters
    ----------
    dispersion_prior : UnitPrior, default=None
        Prior of the dispersion; None: ``Beta(1, 9)``.

    Examples
    --------
    >>> import numpy as np
    >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor
    >>> cover = np.array([0.02, 0.05, 0.11, 0.18, 0.35, 0.48])  # of ground by leaves
    >>> model = BayesianErrorsInVariablesRegressor(likelihood="beta", random_state=0)
    >>> model.fit(np.arange(6.0)[:, None], cover).predict([[6.0]]).round(1)
    array([0.7])
    """

    name = "beta"
    link = LOGIT
    intercept_prior = LOG_ODDS
    coef_prior = SLOPES
    takes_more = ", or leave them out"

    def __init__(self, dispersion_prior: UnitPrior | None = None):
        self.dispersion_prior = dispersion_prior

    def check(self, argument: str) -> None:
        resolved_dispersion_prior(self.dispersion_prior, f"{argument}__dispersion_prior")

    def checked_target(self, y: Array, seen: NDArray[np.bool_] | slice) -> Array:
        outside = ~((y > 0.0) & (y < 1.0))
        if outside[seen].any():
            rows = np.arange(len(y))[seen][outside[seen]]
            more = f" and {len(rows) - 1} rows more" if len(rows) > 1 else ""
            raise ValueError(
                f"With likelihood='beta', y must lie strictly between 0 and 1, got {y[rows[0]]:g} in row {rows[0]}"
                f"{more}. Shares of counted trials are for likelihood='binomial' or 'beta_binomial', with their"
                " counts; percentages are to be divided by 100. Of zeros say y_censored=-1, with the least that could"
                " be told from none for y; or move y inside, as (y * (n - 1) + 0.5) / n of n rows does."
            )
        return np.where(outside, 0.5, y)

    def auxiliary(
        self, noise: Noise, visible: float, noise_prior: ScalePrior, scatter_unit: float = 1.0
    ) -> tuple[Auxiliary, ...]:
        prior = resolved_dispersion_prior(self.dispersion_prior, "dispersion_prior")
        return (Auxiliary("dispersion", prior, LogOdds(), 0.05),)

    def _shapes(self, eta: Array, values: Mapping[str, Array]) -> tuple[Array, Array]:
        dispersion = np.maximum(values["dispersion"], LEAST_DISPERSION)
        precision = (1.0 - dispersion) / dispersion
        return np.maximum(expit(eta) * precision, TINY), np.maximum(expit(-eta) * precision, TINY)

    def log_density(self, eta: Array, values: Mapping[str, Array], data: Observations) -> Array:
        alpha, beta = self._shapes(eta, values)
        return xlogy(alpha - 1.0, data.y) + xlog1py(beta - 1.0, -data.y) - betaln(alpha, beta)

    def probability_of_less(self, eta: Array, values: Mapping[str, Array], data: Observations) -> Array:
        return np.asarray(betainc(*self._shapes(eta, values), data.y))

    def tails(self, eta: Array, values: Mapping[str, Array], data: Observations) -> tuple[Array, Array]:
        of = *self._shapes(eta, values), data.y
        return np.asarray(betainc(*of)), np.asarray(betaincc(*of))

    def variance(self, mean: Array, values: Mapping[str, Array], data: Observations) -> Array:
        return mean * (1.0 - mean) * values["dispersion"]

    def draw(
        self, eta: Array, values: Mapping[str, Array], data: Observations, rng: np.random.Generator
    ) -> Array:
        # Rounding would put them at the ends.
        return np.clip(rng.beta(*self._shapes(eta, values)), TINY, 1.0 - 1e-16)

    def derivatives(self, eta: Array, coordinates: Array, data: Observations) -> Derivatives:
        values = {"dispersion": expit(coordinates[0])}
        alpha, beta = self._shapes(eta, values)
        total, share, rest = np.exp(-coordinates[0]), expit(eta), expit(-eta)
        slope, away = total * share * rest, np.log(data.y) - np.log1p(-data.y) - psi(alpha) + psi(beta)
        of_share, of_rest = zeta(2.0, alpha), zeta(2.0, beta)
        told = np.square(slope) * (of_share + of_rest)
        in_eta, eta_eta = slope * away, slope * (rest - share) * away - told
        # In the precision, then in minus its log, the log odds of the dispersion.
        in_total = share * away + np.log1p(-data.y) - psi(beta) + psi(total)
        total_total = zeta(2.0, total) - np.square(share) * of_share - np.square(rest) * of_rest
        eta_odds = slope * (share * of_share - rest * of_rest) * total - in_eta
        odds_odds = total * in_total + np.square(total) * total_total
        return Derivatives(
            self.log_density(eta, values, data),
            np.array([in_eta, -total * in_total]),
            np.array([[eta_eta, eta_odds], [eta_odds, odds_odds]]),
            told,
        )

    def distribution(
        self, eta: Any, values: Mapping[str, Any], data: Observations
    ) -> tuple[str, dict[str, Any]]:
        return "Beta", shapes_graph(eta, values)

    def tails_graph(self, eta: Any, values: Mapping[str, Any], data: Observations) -> tuple[Any, Any]:
        import pytensor.tensor as pt

        # Where there is no limit any number will do that has derivatives.
        least = 1e-9
        shapes, y = shapes_graph(eta, values), pt.clip(data.y, least, 1.0 - least)
        return (
            pt.betainc(shapes["alpha"], shapes["beta"], y),
            pt.betainc(shapes["beta"], shapes["alpha"], 1.0 - y),
        )

    def information(self, values: Mapping[str, Any], data: Observations, share: Any) -> Any:
        return (
            share * (1.0 - share) * (1.0 - values["dispersion"]) / (values["dispersion"] + LEAST_DISPERSION)
        )


def resolved_dispersion_prior(prior: UnitPrior | None, key: str) -> UnitPrior:
    """Return a prior of the dispersion, or the default, checked."""
    found: UnitPrior = given_prior(prior, Beta(1.0, 9.0), UnitPrior, key, "Beta(1, 9)")
    return found


def shapes_graph(eta: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the shapes of the beta distribution of shares, in PyTensor."""
    import pymc as pm

    total = (1.0 - values["dispersion"]) / values["dispersion"]
    # Draws from a wide prior have log odds whose share is zero in double precision.
    alpha, beta = (pm.math.maximum(pm.math.sigmoid(line) * total, TINY) for line in (eta, -eta))
    return {"alpha": alpha, "beta": beta}
