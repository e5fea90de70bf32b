"""What a feature was, given readings of the target: inverse regression.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from ...measurements.checks import as_floats
from ...measurements.error_models.variance_function import VarianceFunction
from ...measurements.messages import hinting, shown, warn
from ...prediction.distribution import PredictiveDistribution
from ...prediction.inverse.distribution import InversePredictive, Prior, posterior_of_feature
from ...prediction.inverse.readings import joint_log_density
from .along import Along

__all__ = ["Readings", "inverse_predict"]

Array = NDArray[np.float64]

Index = NDArray[np.intp]


@hinting
def inverse_predict(
    estimator: Any,
    y: ArrayLike,
    *,
    feature: str | int | None = None,
    X: Any = None,
    y_err: ArrayLike | float | VarianceFunction | None = None,
    counts: ArrayLike | float | None = None,
    exposure: ArrayLike | float | None = None,
    prior: Prior | None = None,
) -> InversePredictive:
    """Return the distribution of a feature behind new readings of the target: calibration, read backwards.

    The line, its uncertainty and its noise are those that `fit` found, of standards say; the samples' own readings
    do not change the line.

    Parameters
    ----------
    estimator : fitted BayesianErrorsInVariablesRegressor, or Pipeline or search that ends in one
        Steps before it may be any function of the feature, such as PolynomialFeatures: of curved lines all places
        that go with the readings are found.
    y : array-like of shape (n,) or (n, m)
        Readings of n samples, up to m of each; NaN: there is none.
    feature : str or int, optional
        The column of X, as fit had it, that is looked for; None: its only one.
    X : array-like of shape (n, k) or (1, k), optional
        The columns that fit had, for the other features and what is known of rows (counts, labels of groups): what
        stands in the feature's own column does not matter. None: there are no others.
    y_err, counts, exposure : float or array-like of shape (n,) or (n, m), optional
        Of the readings, as for `predict`.
    prior : frozen distribution of scipy.stats, optional
        Of the feature, or any object with such ``logpdf`` and ``ppf``, in the unit of X. None: what the n training
        rows say of a further one, were all of them normal (of true features, where they had errors): Student's t of
        n - 1 degrees of freedom about their mean.

    Returns
    -------
    InversePredictive
        With ``mean() std() var() pdf logpdf cdf ppf interval sample crps to_frame``, of the true feature.

    Raises
    ------
    ValueError, TypeError
        For bad input, naming the argument; in a Pipeline where the training rows' spread is not known.

    Warns
    -----
    UserWarning
        Where readings say little, so that the answer is the prior's; where they lie where the prior expects none.

    Notes
    -----
    Under a flat prior the density falls off as one over the distance and can't be normalised (Fieller's limits may be
    no interval at all), so that the prior has to be proper, (76). With equal readings of standards and
    samples from one population the default is that of inverse regression (Krutchkoff 1967, Technometrics 9:425-439;
    Hoadley 1970, J. Am. Stat. Assoc. 65:356-369).

    Examples
    --------
    >>> import numpy as np
    >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor, inverse_predict
    >>> dose = np.array([[0.0], [1.0], [2.0], [4.0], [8.0]])
    >>> reading = np.array([0.1, 2.1, 3.9, 8.1, 15.9])
    >>> model = BayesianErrorsInVariablesRegressor(noise="known").fit(dose, reading, y_err=0.1)
    >>> inverse_predict(model, [5.0, 11.0], y_err=0.1).mean().round(1).tolist()
    [2.5, 5.5]
    """
    readings = Readings(
        estimator,
        y,
        feature=feature,
        X=X,
        of_readings={"y_err": y_err, "counts": counts, "exposure": exposure},
    )
    before = readings.default_prior if prior is None else _checked(prior)
    found = posterior_of_feature(readings, before, readings.n)
    distribution = InversePredictive(found, readings.regressor._fitted.seed, readings.name, readings.index)
    _warn_of_doubts(distribution, before, readings.name)
    return distribution


class Readings(Along):
    """Readings of samples, and the predictions that a fitted model makes of them wherever their feature lies."""

    def __init__(
        self, estimator: Any, y: ArrayLike, *, feature: Any = None, X: Any = None, of_readings: dict[str, Any]
    ):
        self.y = _table(y, "y", nan=True)
        self.n, self.m = self.y.shape
        self.index = y.index if hasattr(y, "index") and hasattr(y, "iloc") else None
        for row in np.flatnonzero(np.isnan(self.y).all(axis=1))[:1]:
            raise ValueError(f"y: row {row} has no reading; leave it out.")
        self._of_readings = {
            name: np.broadcast_to(_table(value, name), self.y.shape)
            for name, value in of_readings.items()
            if value is not None
            and not isinstance(value, VarianceFunction)
            and _fits(value, name, self.y.shape)
        }
        self._functions = {
            name: value for name, value in of_readings.items() if isinstance(value, VarianceFunction)
        }
        super().__init__(estimator, feature, X, self.n)

    def forward(self, x: Array, sample: Index) -> list[PredictiveDistribution]:
        """Return the distribution of each of the m readings of samples whose feature is x."""
        return [
            self.predictive(
                x,
                sample,
                **{name: values[sample, i] for name, values in self._of_readings.items()},
                **self._functions,
            )
            for i in range(self.m)
        ]

    def log_density(self, x: Array, sample: Index) -> Array:
        return joint_log_density(self.forward(x, sample), self.y[sample].T)

    def standardised(self, x: Array, sample: Index) -> tuple[Array, Array]:
        rows = x if self.alike else np.broadcast_to(x, np.broadcast_shapes(x.shape, sample.shape))
        own = np.zeros(x.size, dtype=np.intp) if self.alike else np.broadcast_to(sample, rows.shape).ravel()
        total, precision, mean = (np.zeros(np.broadcast_shapes(x.shape, sample.shape)) for _ in range(3))
        for i, one in enumerate(self.forward(rows.ravel(), own)):
            mean, sd = (part.reshape(rows.shape) for part in one.mean_and_std())
            y = self.y[sample, i]
            read = ~np.isnan(y)
            total -= np.where(read, 0.5 * np.square((y - mean) / sd) + np.log(sd), 0.0)
            precision += read / np.square(sd)
        return total, mean * np.sqrt(precision)

    @cached_property
    def alike(self) -> bool:
        """Whether predictions at a place of the feature are the same for all samples."""
        same = all((values == values[:1]).all() for values in self._of_readings.values())
        return same and len(self._template) == 1


def _table(value: Any, name: str, *, nan: bool = False) -> Array:
    """Return numbers as a table with a row for each sample."""
    try:
        found = as_floats(value)
    except TypeError:
        raise TypeError(
            f"{name} must be real numbers in rows of one length (NaN: there is no reading), got {shown(value)}."
        ) from None
    if found.ndim > 2 or not found.size:
        raise ValueError(f"{name} must have the shape (n,) or (n, m), got {found.shape}.")
    if np.isinf(found).any() or (not nan and np.isnan(found).any()):
        raise ValueError(f"{name} has {'infinity' if nan else 'NaN or infinity'} in it.")
    return np.atleast_1d(found)[:, None] if found.ndim < 2 else found


def _fits(value: Any, name: str, shape: tuple[int, ...]) -> bool:
    """Refuse what can't be broadcast to the readings."""
    own = _table(value, name).shape
    if own[0] not in (1, shape[0]) or own[1] not in (1, shape[1]):
        raise ValueError(
            f"{name} has the shape {np.shape(value)}, and y {shape}: give a number for each reading."
        )
    return True


def _checked(prior: Any) -> Prior:
    """Return a prior that has what is asked of it.

    Raises
    ------
    TypeError, ValueError
    """
    if not (hasattr(prior, "logpdf") and hasattr(prior, "ppf")):
        raise TypeError(
            "prior must be a frozen distribution such as scipy.stats.norm(5.0, 2.0), or have its logpdf and ppf, got"
            f" {shown(prior)}."
        )
    with np.errstate(all="ignore"):
        middle = np.asarray(prior.ppf(np.array([0.01, 0.5, 0.99])), dtype=np.float64)
    if middle.shape != (3,) or not np.isfinite(middle).all() or not middle[0] < middle[2]:
        raise ValueError(
            f"prior must be one continuous distribution that is proper, got {shown(prior)} with the quantiles"
            f" {middle.tolist()}."
        )
    return prior


def _warn_of_doubts(found: InversePredictive, prior: Prior, name: str) -> None:
    """Warn of readings that say little of the feature, and of those where it was not expected."""
    # Of a normal one that is nowhere else, 0.7 times as wide as the prior.
    vague = np.flatnonzero(found.learned(prior) < 0.1)
    if len(vague):
        warn(
            f"The readings of {len(vague)} of {len(found)} samples (first: {vague[0]}) say little of {name!r}:"
            " what is found is mostly the prior. Measure them better, or give what else is known as prior.",
        )
    # Log evidence that is "strong" for Kass & Raftery 1995, J. Am. Stat. Assoc. 90:773-795, for a wider prior.
    low, middle, high = (float(prior.ppf(q)) for q in (0.158655, 0.5, 0.841345))
    wider = stats.norm(middle, 1.5 * (high - low))
    far = np.flatnonzero(found.evidence(wider, prior) > 3.0)
    if len(far):
        warn(
            f"{len(far)} of {len(found)} samples (first: {far[0]}) lie where the prior of {name!r} expects none: it"
            f" pulls them towards {middle:.3g}, and a line says little outside its standards. Measure standards"
            " there, or give a wider prior.",
        )
