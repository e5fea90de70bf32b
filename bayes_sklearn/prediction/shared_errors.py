"""New measurements whose features' errors go with noise that is a mixture of normal distributions.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from ..inference.posterior import Posterior
from ..likelihoods.base import Likelihood, Observations
from ..likelihoods.noise import KNOWN
from ..likelihoods.over_line.integral import log_density_over_line, parts_over_line
from ..measurements.checks import check_n_samples
from .distribution import generator
from .line import LinearPredictor
from .mixtures.continuous import ResponseMixture
from .mixtures.few_points import average
from .mixtures.normal import Mixture
from .mixtures.parts import Components, Lines, NormalComponents
from .noise import Parts
from .response import ResponsePredictive

__all__ = ["SharedErrorPredictive", "told_of_noise"]

Array = NDArray[np.float64]


def told_of_noise(means: Sequence[Array], variances: Sequence[Array]) -> tuple[Array, Array, Array]:
    """Return what measured features tell of noise of scale one, a normal distribution of it, (38).

    A measurement's mean is linear in the part's standard deviation, and its variance is quadratic.

    Parameters
    ----------
    means, variances : sequences of ndarray
        Of the line and what is told of the noise, for the deviations 0, -1 and 1.

    Returns
    -------
    mean, with_line, variance : ndarray
        What it adds to the mean, half of what it adds to the variance by its covariance with the line, and what it
        adds to the noise's own variance.
    """
    none, less, more = variances
    return 0.5 * (means[2] - means[1]), 0.25 * (more - less), 0.5 * (more + less) - none


class SharedErrorPredictive(ResponsePredictive):
    """Distribution of new measurements, of which the features' errors tell, (38).

    Given the part that its noise is of, a measurement has normal noise, whose covariances with its features' errors
    are those of the normal likelihood times the part's standard deviation.

    Parameters
    ----------
    likelihood : Likelihood
    posterior : Posterior
        On the data's scale, with what covariances are multiplied by.
    X, features, error
        As for `LinearPredictor`.
    noise, seed, index
        As for `ResponsePredictive`.
    """

    def __init__(
        self,
        likelihood: Likelihood,
        posterior: Posterior,
        X: NDArray[np.floating],
        features: NDArray[np.intp] | None,
        error: Array,
        noise: Parts,
        seed: int,
        index: Any = None,
    ):
        self._root_mean = _mean_root(likelihood, posterior.auxiliary, len(posterior.weights))

        def at(root: Array | float) -> LinearPredictor:
            multiple = None if posterior.true_features is None else posterior.true_features.sharing
            if multiple is None:  # for the type checker
                raise AssertionError
            return LinearPredictor.of(posterior.sharing(root * multiple), X, features, error)

        super().__init__(likelihood, at(self._root_mean), seed, index, noise=noise)
        self._lines = [at(root) for root in (0.0, -1.0, 1.0)]

    @cached_property
    def _moments(self) -> dict[str, Array]:
        mean, parameters, feature_error, zero = np.zeros((4, len(self)))
        weights, one = self.line.weights, Observations(np.zeros(1), 1.0, KNOWN)
        square = self._likelihood.variance(np.zeros(len(weights)), self._values(), one)
        # That there is no variance is said once, by the noise.
        square = np.where(np.isfinite(square), square, np.square(self._root_mean))
        for rows in self.line.blocks():
            lines, (off, with_line, bend) = self._told(rows)
            of_nodes, _ = lines.of_nodes({"root": self._root_mean, "square": square}, 1.0)
            root, whole = of_nodes["root"], of_nodes["square"]
            of_node, apart = self._node_means(lines, lines.means + root * off)
            mean[rows] = of_node @ weights
            parameters[rows] = np.square(of_node - mean[rows, None]) @ weights
            left = lines.variances + 2.0 * root * with_line + whole * bend + np.square(apart)
            left += (whole - np.square(root)) * np.square(off)
            feature_error[rows] = average(left, lines.weights)
        noise = {"scatter": zero, "target_error": zero, "finite_count": zero}
        return {"mean": mean, "parameters": parameters, "feature_error": feature_error} | noise

    @property
    def variance_parts(self) -> dict[str, Array]:
        """As `ResponsePredictive` has it; what is told of an error that the target shares as `LinearPredictive`."""
        parts = super().variance_parts
        beyond = np.minimum(parts["feature_error"], 0.0)
        return parts | {
            "feature_error": parts["feature_error"] - beyond,
            "target_error": parts["target_error"] + beyond,
        }

    def sample(self, n_samples: int = 1, random_state: int | np.random.RandomState | None = None) -> Array:
        n_samples = check_n_samples(n_samples)
        rng = generator(self._seed if random_state is None else random_state)
        # The same draws of the parameters, and of components.
        drawn = [line.draws(n_samples, deepcopy(rng)) for line in self._lines]
        rng = rng.spawn(1)[0]
        (nodes, blocks, _), values = drawn[0], self._values(drawn[0][0])
        values = {name: value[:, None] for name, value in values.items()}
        answer = np.empty((len(self), n_samples))
        for rows in blocks:
            means, variances = zip(*(line(rows) for _, _, line in drawn), strict=True)
            off, with_line, bend = told_of_noise(means, variances)
            part = self._likelihood.drawn_parts(values, means[0].shape[::-1], rng).T
            root, noise = np.sqrt(part), np.square(self._scales(np.arange(len(self))[rows], nodes))
            spread = variances[0] + 2.0 * root * with_line + part * (noise + bend)
            away = np.sqrt(np.maximum(spread, 0.0)) * rng.standard_normal(spread.shape)
            answer[rows] = means[0] + root * off + away
        return answer

    def _told(self, rows: slice | NDArray[np.intp]) -> tuple[Lines, tuple[Array, Array, Array]]:
        """Return the line of some rows at every node, and what their features tell of noise of scale one."""
        lines = [line.at(rows) for line in self._lines]
        return lines[0], told_of_noise([each.means for each in lines], [each.variances for each in lines])

    @property
    def _width(self) -> int:
        return max(line.width for line in self._lines)

    def _mixture(self, rows: slice | NDArray[np.intp]) -> Mixture:
        lines, (off, with_line, bend) = self._told(rows)
        own = bend + np.square(lines.of_nodes({}, self._scales(np.arange(len(self))[rows]))[1])
        every = np.array([lines.means, off, lines.variances + np.zeros_like(off), with_line, own])
        roots = np.repeat(self._root_mean, lines.each)
        weights = np.broadcast_to(lines.weights, off.shape)
        found, masses, values = [], [], []
        groups = self._nodes(self._likelihood).wide
        kinds = 4 if len(groups) <= 4 else 2
        for group in groups:
            here = np.zeros(len(self._root_mean), dtype=bool)
            here[group.nodes] = True
            here = np.repeat(here, lines.each)
            mass, few = _gathered(weights[:, here], every[:, :, here], roots[here], kinds)
            found.append(few)
            masses.append(mass)
            values.append(group.values)
        size = masses[0].shape[1]
        of_groups = {name: np.repeat([of[name] for of in values], size) for name in values[0]}
        parts = _Parts(
            self._likelihood, np.concatenate(masses, axis=1), of_groups, np.concatenate(found, axis=2)
        )
        noise = np.sqrt(np.maximum(average(parts.found[4], parts.weights), 0.0))
        return ResponseMixture(self._likelihood, parts.normal(), lambda: parts, noise, True)


def _gathered(weights: Array, found: Array, roots: Array, kinds: int) -> tuple[Array, Array]:
    """Return nodes of some rows, (n, G), gathered where their measurements have about the same mean.

    Parameters
    ----------
    weights : ndarray of shape (n, G)
    found : ndarray of shape (5, n, G)
        As `_Parts` has it.
    roots : ndarray of shape (G,)
        Mean standard deviations of the noise's parts.
    kinds : int
        Cells in the variance.

    Returns
    -------
    weights : ndarray of shape (n, M)
    found : ndarray of shape (5, n, M)
        Of every part mean and variance are those of the nodes.
    """
    # Cells in the mean, so many standard deviations to either side; a kernel that smooths them, in cells.
    size, reach, kernel = 15, 4.0, 0.75
    n, (mean, off, variance, with_line, own) = len(weights), found
    tiny = np.finfo(np.float64).tiny
    unit = np.maximum(weights.sum(axis=1), tiny)
    at = mean + roots * off
    spread = np.maximum(variance + roots * (2.0 * with_line + roots * own), tiny)

    def standardised(values: Array) -> tuple[Array, Array, Array]:
        center = average(values, weights) / unit
        sd = np.sqrt(average(np.square(values - center[:, None]), weights) / unit)
        return (values - center[:, None]) / np.maximum(sd, tiny)[:, None], center, sd

    (z, center, sd), (wide, _, _) = standardised(at), standardised(np.log(spread))
    cell = np.clip((z + reach) * (size / (2.0 * reach)), 0.0, size - 1.0).astype(np.intp)
    cell += size * np.clip(1.5 * wide + 0.5 * kinds, 0.0, kinds - 1.0).astype(np.intp)
    count = size * kinds
    flat = (cell + count * np.arange(n)[:, None]).ravel()

    def summed(values: Array) -> Array:
        total = np.bincount(flat, (weights * values).ravel(), n * count)
        return np.asarray(total, dtype=np.float64).reshape(n, count)

    mass = summed(np.ones_like(at))
    some = mass > 0.0
    whole = np.where(some, mass, 1.0)
    means = np.where(some, [summed(mean) / whole, summed(off) / whole], [center[:, None], np.zeros((n, 1))])
    apart = mean - np.take_along_axis(means[0], cell, 1), off - np.take_along_axis(means[1], cell, 1)
    second = [variance + np.square(apart[0]), with_line + apart[0] * apart[1], own + np.square(apart[1])]
    squares = np.where(some, [summed(of) / whole for of in second], [[[1.0]], [[0.0]], [[1.0]]])
    # Where cells are wide beside the measurements in them, these are to be of one piece (West 1993).
    more = np.maximum(np.square(kernel * 2.0 * reach * sd / size) - average(spread, weights) / unit, 0.0)
    shrunk = np.sqrt(1.0 - more / np.maximum(np.square(sd), tiny))[:, None]
    means[0] = center[:, None] + (means[0] - center[:, None]) * shrunk
    squares[0] += more[:, None]
    return mass, np.concatenate([means, squares])


@dataclass(frozen=True, eq=False)
class _Parts:
    """Measurements of some rows at nodes, mixtures of normal distributions by the parts of their noise."""

    likelihood: Likelihood
    weights: Array
    """(n, M)"""
    values: dict[str, Array]
    """(M,) the likelihood's parameters."""
    found: Array
    """(5, n, M) mean of the line, what noise adds to it, its variance and what noise adds to that, as
    `log_density_over_line` takes it."""

    def _given(self, value: Array) -> tuple[Any, ...]:
        mean, off, variance, with_line, own = self.found.transpose(0, 2, 1)
        values = {name: of[:, None] for name, of in self.values.items()}
        return (
            self.likelihood,
            mean,
            variance,
            values,
            Observations(value, noise=KNOWN),
            (off, with_line, own),
        )

    def log_density(self, value: Array) -> Array:
        """Return the log density of each row's target, (n,)."""
        likelihood, mean, variance, values, data, noise = self._given(value)
        found = log_density_over_line(likelihood, mean, variance, values, data, noise=noise)
        with np.errstate(divide="ignore"):
            return np.asarray(logsumexp(found.T + np.log(self.weights), axis=1))

    def normal(self) -> NormalComponents:
        """Return the normal distributions, for probabilities."""
        center = average(self.found[0], self.weights)
        weights, means, sds = [], [], []
        # Every other point of a rule for densities: probabilities are smoother.
        for log_weight, residual, spread in islice(parts_over_line(*self._given(center)), 0, None, 2):
            weights.append(self.weights * np.exp(np.ravel(log_weight)))
            means.append(center[:, None] - residual.T)
            sds.append(np.sqrt(spread.T))
        values = {name: np.tile(of, len(weights)) for name, of in self.values.items()}
        whole, mean, sd = (np.concatenate(of, axis=1) for of in (weights, means, sds))
        whole /= whole.sum(axis=1, keepdims=True)
        return NormalComponents(whole, mean, sd, Components(whole, mean, values))


def _mean_root(likelihood: Likelihood, values: Mapping[str, Array], nodes: int) -> Array:
    """Return the mean standard deviation of the parts of noise of scale one, (G,)."""
    columns = {name: value[:, None] for name, value in values.items()}
    far = np.full((nodes, 1), 1e12)  # far enough for any tail that has a variance
    total = np.zeros(nodes)
    for log_weight, variance in likelihood.normal_parts(columns, far, np.zeros_like(far)):
        total += np.ravel(np.exp(log_weight) * np.sqrt(variance))
    return total
