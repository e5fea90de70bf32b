"""Where on the line counts are exceeded: rules for it against sums of SciPy's distributions over the line."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.special import expit, ndtr, ndtri

from bayes_sklearn.likelihoods import BinomialLikelihood, PoissonLikelihood


def below(likelihood: str, k: float, trials: float, mean: float, sd: float) -> float:
    """Return the probability of at most k where the line is normal, by the trapezoid rule."""
    z = np.linspace(-9.0, 9.0, 4001)
    eta = mean + sd * z
    cdf = (
        stats.binom.cdf(k, trials, expit(eta))
        if likelihood == "binomial"
        else stats.poisson.cdf(k, trials * np.exp(eta))
    )
    weights = stats.norm.pdf(z)
    return float(weights @ cdf / weights.sum())


@pytest.mark.parametrize("width", [0.5, 1.0, 1.6, 4.0])
@pytest.mark.parametrize(
    ("likelihood", "k", "trials"),
    [
        ("binomial", 0.0, 1.0),
        ("binomial", 0.0, 12.0),
        ("binomial", 30.0, 34.0),
        ("binomial", 5.0, 100_000.0),
        ("binomial", 99_000.0, 100_000.0),
        ("poisson", 0.0, 3.0),
        ("poisson", 7.0, 0.2),
        ("poisson", 9_990.0, 50.0),
    ],
)
def test_counts_are_exceeded_where_scipy_says(likelihood: str, k: float, trials: float, width: float) -> None:
    """On the normal scale; lines that are wider than the count's own distribution take few points."""
    of = BinomialLikelihood() if likelihood == "binomial" else PoissonLikelihood()
    own = np.sqrt(1.0 / (k + 1.0) + (1.0 / (trials - k) if likelihood == "binomial" else 0.0))
    middle = np.log((k + 1.0) / ((trials - k) if likelihood == "binomial" else trials))
    sd = width * own
    for away in (-2.0, -0.7, 0.0, 1.0, 2.0):
        mean = middle + away * np.hypot(sd, own)
        points, masses = of.exceeding(np.array([k]), np.array([trials]), np.array([sd]))
        assert (points.shape[1] == 9) == (width >= 1.0)
        found = float((ndtr((points - mean) / sd) * masses).sum())
        # Few points are worst where no event was counted and the line is no wider than that says.
        assert abs(ndtri(found) - ndtri(below(likelihood, k, trials, mean, sd))) < (
            7e-3 if k == 0.0 else 2e-3
        )
