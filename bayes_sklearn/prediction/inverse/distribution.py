"""The distribution of a feature behind new readings of the target.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from ...measurements.checks import check_coverage, check_n_samples
from ..distribution import PredictiveDistribution, generator
from ..mixtures.normal import Mixture
from .pieces import Grid, Tabulated

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Forward", "InversePredictive", "Prior", "posterior_of_feature"]

Array = NDArray[np.float64]

Index = NDArray[np.intp]

# Of the prior: what lies beyond these probabilities is not looked at.
_LEAST = 1e-7

# Points of the grid on which peaks are looked for.
_COARSE = 257

# A peak is approached until the points are closer than it is wide: at these places about it, by the last spacing.
_ROUNDS, _OFFSETS = 16, np.linspace(-1.0, 1.0, 13)

# Steps of a piece: to find its width, and to integrate over it.
_FIRST, _STEPS = 32, 96

# A peak whose mass is this part (its log) of the highest's is none.
_FAINT = -20.0


class Prior(Protocol):
    """What is known of the feature beforehand, as frozen distributions of ``scipy.stats`` have it."""

    def logpdf(self, x: Any) -> Any: ...

    def ppf(self, q: Any) -> Any: ...


class Forward(Protocol):
    """How likely readings are, and where the line is, at places of the feature."""

    @property
    def alike(self) -> bool:
        """Whether predictions at a place are the same for all samples."""

    def log_density(self, x: Array, sample: Index) -> Array:
        """Return the log density of the samples' readings were their feature x, (n,)."""

    def standardised(self, x: Array, sample: Index) -> tuple[Array, Array]:
        """Return log densities were readings normal and independent, and their mean by its standard deviation.

        Arrays that broadcast: where samples are alike, x may be of another shape than `sample`.
        """


class InversePredictive(PredictiveDistribution):
    """Distribution of the feature behind the readings of n samples: what `inverse_predict` returns.

    Its methods are those of `PredictiveDistribution`, of the feature, and in its unit, (76).

    Examples
    --------
    >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor
    >>> dose, reading = [[0.0], [1.0], [2.0], [4.0], [8.0]], [0.1, 2.1, 3.9, 8.1, 15.9]
    >>> model = BayesianErrorsInVariablesRegressor().fit(dose, reading, y_err=0.1)
    >>> found = model.inverse_predict([5.0, 12.0], y_err=0.1)
    >>> found.mean().round(1), found.std().round(1)
    (array([2.5, 6. ]), array([0.1, 0.1]))
    """

    def __init__(self, found: Tabulated, seed: int, name: str, index: Any = None):
        self._found, self._seed, self._name, self.index = found, seed, name, index

    def __len__(self) -> int:
        return len(self._found)

    def mean(self) -> Array:
        return self._found.expected(lambda x: x)

    def var(self) -> Array:
        mean = self.mean()[:, None, None]
        return self._found.expected(lambda x: np.square(x - mean))

    def mode(self) -> Array:
        """Return where the densities are highest, (n,), to a fifth of the width of the peaks.

        Examples
        --------
        >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor
        >>> dose, reading = [[0.0], [1.0], [2.0], [4.0], [8.0]], [0.1, 2.1, 3.9, 8.1, 15.9]
        >>> model = BayesianErrorsInVariablesRegressor().fit(dose, reading, y_err=0.1)
        >>> model.inverse_predict([5.0, 12.0], y_err=0.1).mode().round(1)
        array([2.5, 6. ])
        """
        return self._found.mode

    def covariance(self) -> Array:
        """Return variances, (n, n): samples are taken one by one, though they share one line."""
        return np.diag(self.var())

    def sample(self, n_samples: int = 1, random_state: int | np.random.RandomState | None = None) -> Array:
        """Return random draws, (n, n_samples), each sample's by itself."""
        n_samples = check_n_samples(n_samples)
        rng = generator(self._seed if random_state is None else random_state)
        return self.ppf(rng.uniform(size=(n_samples, len(self)))).T

    def to_frame(self, coverage: float = 0.95, *, variance_parts: bool = False) -> pd.DataFrame:
        """Return a data frame: the feature's mean, std and the limits of an interval, a row for each sample.

        Parameters
        ----------
        coverage : float, default=0.95
            Of the equal-tailed interval.
        variance_parts : bool, default=False
            There are none: the distribution is no sum.

        Examples
        --------
        >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor
        >>> dose, reading = [[0.0], [1.0], [2.0], [4.0], [8.0]], [0.1, 2.1, 3.9, 8.1, 15.9]
        >>> model = BayesianErrorsInVariablesRegressor().fit(dose, reading, y_err=0.1)
        >>> model.inverse_predict([5.0, 12.0], y_err=0.1).to_frame(0.9).round(1)
            x0  std  lower_90%  upper_90%
        0  2.5  0.1        2.4        2.6
        1  6.0  0.1        5.9        6.2
        """
        check_coverage(coverage)
        return super().to_frame(coverage).rename(columns={"y_pred": self._name})

    def learned(self, prior: Prior) -> Array:
        """Return what readings say beyond a prior, (n,): the Kullback-Leibler divergence from it, in nats.

        Examples
        --------
        >>> from scipy import stats
        >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor
        >>> dose, reading = [[0.0], [1.0], [2.0], [4.0], [8.0]], [0.1, 2.1, 3.9, 8.1, 15.9]
        >>> model = BayesianErrorsInVariablesRegressor().fit(dose, reading, y_err=0.1)
        >>> before = stats.uniform(0.0, 10.0)
        >>> model.inverse_predict([5.0], y_err=0.1, prior=before).learned(before).round(1)
        array([3.5])
        """
        return self._found.divergence(lambda x: np.asarray(prior.logpdf(x)))

    def evidence(self, other: Prior, prior: Prior) -> Array:
        """Return by how much, (n,) in nats, another prior explains readings better, where both see them.

        Examples
        --------
        >>> from scipy import stats
        >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor
        >>> dose, reading = [[0.0], [1.0], [2.0], [4.0], [8.0]], [0.1, 2.1, 3.9, 8.1, 15.9]
        >>> model = BayesianErrorsInVariablesRegressor().fit(dose, reading, y_err=0.1)
        >>> before, higher = stats.uniform(0.0, 10.0), stats.norm(9.0, 2.0)
        >>> found = model.inverse_predict([5.0, 16.0], y_err=0.1, prior=before)
        >>> found.evidence(higher, before).round(1)  # the second reading speaks for it
        array([-4.6,  0.6])
        """

        def ratio(x: Array) -> Array:
            with np.errstate(over="ignore"):
                return np.exp(np.asarray(other.logpdf(x)) - np.asarray(prior.logpdf(x)))

        return np.log(self._found.expected(ratio))

    def _mixture(self, rows: slice) -> Mixture:
        return self._found.take(rows)

    @property
    def _width(self) -> int:
        return self._found.width


def posterior_of_feature(forward: Forward, prior: Prior, n: int) -> Tabulated:
    """Return the feature's posterior of n samples, (76), on grids of their own, (77)."""
    normal = ndtri(_LEAST)
    coarse = np.asarray(prior.ppf(ndtr(np.linspace(normal, -normal, _COARSE))), dtype=np.float64)
    edges, center, unit = _pieces(forward, prior, n, coarse)

    def tabulated(grid: Grid) -> Tabulated:
        points = grid.points
        used = np.broadcast_to(grid.step[:, :, None] > 0.0, points.shape)
        sample = np.broadcast_to(np.arange(n)[:, None, None], points.shape)[used]
        log_density = np.full(points.shape, -np.inf)
        x = points[used]
        with np.errstate(divide="ignore"):
            log_density[used] = forward.log_density(x, sample) + np.asarray(prior.logpdf(x))
        return Tabulated(grid, log_density)

    first = tabulated(Grid.between(edges[:, :-1], edges[:, 1:], center, unit, _FIRST))
    return tabulated(first.refined(_STEPS))


def _pieces(forward: Forward, prior: Prior, n: int, coarse: Array) -> tuple[Array, Array, Array]:
    """Return edges, (n, M + 1), of pieces about peaks, and these and their widths, (n, M).

    They are looked for with the readings independent of each other, and normal.
    """

    def log_target(x: Array, sample: Index) -> tuple[Array, Array]:
        log_density, mean = forward.standardised(x, sample)
        with np.errstate(divide="ignore"):
            return log_density + np.asarray(prior.logpdf(x)), mean

    low, high = coarse[0], coarse[-1]
    x = np.broadcast_to(coarse, (n, _COARSE))
    target, _ = log_target(coarse[None, :] if forward.alike else x, np.arange(n)[:, None])
    padded = np.pad(target, ((0, 0), (1, 1)), constant_values=-np.inf)
    peak = (target >= padded[:, :-2]) & (target > padded[:, 2:]) | (target > padded[:, :-2]) & (
        target >= padded[:, 2:]
    )
    peak[np.arange(n), target.argmax(axis=1)] = True
    sample, place = np.nonzero(peak)
    found = x[sample, place], target[sample, place], np.zeros(len(sample))
    going, spacing = np.arange(len(sample)), np.gradient(coarse)[place]
    widest = 16.0 * spacing
    for _ in range(_ROUNDS):
        best, height, width = (part[going] for part in found)
        near = np.clip(best[:, None] + spacing[going, None] * _OFFSETS, low, high)
        target, away = log_target(near, sample[going, None])
        row, top = np.arange(len(going)), target.argmax(axis=1)
        spacing *= _OFFSETS[1] - _OFFSETS[0]
        # Where the mean moves by one of its standard deviations.
        slope = np.abs(away[:, -1] - away[:, 0]) / (near[:, -1] - near[:, 0])
        width = np.minimum(1.0 / np.maximum(slope, 1.0 / widest[going]), widest[going])
        for part, values in zip(found, (near[row, top], target[row, top], width), strict=True):
            part[going] = values
        going = going[spacing[going] > 0.5 * width]
        if not len(going):
            break
    best, height, width = found
    mass = height + np.log(width)
    return _side_by_side(sample, best, width, mass, n, float(low), float(high))


def _side_by_side(
    sample: Index, place: Array, width: Array, mass: Array, n: int, low: float, high: float
) -> tuple[Array, Array, Array]:
    """Return pieces of the peaks that matter, those of a sample from left to right, with none in the end."""
    highest = np.full(n, -np.inf)
    np.maximum.at(highest, sample, mass)
    order = np.lexsort((-mass, sample))
    sample, place, width, mass = sample[order], place[order], width[order], mass[order]
    rank = np.arange(len(sample)) - np.searchsorted(sample, sample)
    kept = (rank == 0) | (mass > highest[sample] + _FAINT)
    sample, place, width = sample[kept], place[kept], width[kept]
    order = np.lexsort((place, sample))
    sample, place, width = sample[order], place[order], width[order]
    rank = np.arange(len(sample)) - np.searchsorted(sample, sample)
    M = int(rank.max()) + 1
    center, unit = np.full((n, M), high), np.full((n, M), high - low)
    center[sample, rank], unit[sample, rank] = place, width
    edges = np.full((n, M + 1), high)
    edges[:, 0] = low
    between = np.flatnonzero(sample[1:] == sample[:-1])
    edges[sample[between], rank[between] + 1] = 0.5 * (place[between] + place[between + 1])
    return edges, center, unit
