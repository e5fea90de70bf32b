"""Predictions under any likelihood: new measurements, the shares or rates that underlie them, or their mean.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import replace
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..inference.posterior import Posterior, row_blocks
from ..likelihoods.base import Likelihood, Observations
from ..likelihoods.noise import KNOWN
from ..measurements.checks import check_n_samples, check_probabilities
from ..measurements.messages import warn
from .distribution import PredictiveDistribution, generator
from .line import LinearPredictor, mean_parts, noise_variance
from .mixtures.components import Nodes, of_groups
from .mixtures.continuous import MeanMixture, ResponseMixture
from .mixtures.few_points import NORMAL_MASSES, NORMAL_POINTS, average, gaussians, smoothed
from .mixtures.lattice import LatticeMixture
from .mixtures.many_rows import (
    MANY_ROWS,
    agree,
    are_inside,
    groups_of,
    laws_of,
    laws_of_lines,
    line_cumulants,
    quantiles_of_laws,
    rows_to_check,
)
from .mixtures.normal import Mixture, NormalMixture, Stacked
from .mixtures.parts import Components, Lines
from .mixtures.shapes import Laws
from .mixtures.steps import StepMixture
from .noise import Part, Parts

__all__ = ["ResponsePredictive"]

Array = NDArray[np.float64]


# Of posteriors, their nodes in groups, by likelihood and whether lines are spread at them: the same at every row.
_GROUPED: WeakKeyDictionary[Posterior, dict[tuple[str, bool], Nodes]] = WeakKeyDictionary()


class ResponsePredictive(PredictiveDistribution):
    """Distribution of new measurements under a likelihood, whose functions are averaged over the posterior's nodes.

    Means, variances and, where the noise is wide enough, densities are sums over all nodes, (40). The rest is of
    few points that stand for a row's nodes: nodes are grouped by their noise, and where it is wider than the
    linear predictor's uncertainty, a Gauss quadrature stands for each group. Elsewhere these are few
    Gaussians that smooth the nodes and keep their mean and variance: with noise that is a mixture of normals they are
    normal again, of many binomial trials the distribution function of the linear predictor is averaged, and of all
    else they become even points, as close as the noise is narrow.

    Parameters
    ----------
    likelihood : Likelihood
    line : LinearPredictor
    seed : int
        For draws where no random state is given.
    index : optional
        Row labels for `to_frame`.
    noise : dict of str to Part, optional
        Parts of the noise's squared scale, where it has one.
    trials : float or ndarray of shape (n,), optional
        What new counts are by, 0 where not known: that row's distribution is of its underlying share or rate.
    trials_in_fit : float, optional
        Those of every row of the fit; None: they differ.
    include_noise : bool, default=True
        False: the distribution is of the mean.
    """

    def __init__(
        self,
        likelihood: Likelihood,
        line: LinearPredictor,
        seed: int,
        index: Any = None,
        *,
        noise: Parts | None = None,
        trials: Array | float | None = None,
        trials_in_fit: float | None = None,
        include_noise: bool = True,
    ):
        self._likelihood, self.line, self._noise = likelihood, line, noise
        self._trials = np.broadcast_to(
            np.asarray(0.0 if trials is None else trials, dtype=np.float64), len(line)
        )
        self._trials_in_fit, self._include_noise = trials_in_fit, include_noise
        self._seed, self.index = seed, index

    def __len__(self) -> int:
        return len(self.line)

    def mean(self) -> Array:
        return self._moments["mean"]

    def var(self) -> Array:
        return np.sum(list(self.variance_parts.values()), axis=0)

    def ppf(self, q: ArrayLike) -> Array:
        """Return the quantiles of probability q: of many rows from few numbers of each, some held against all nodes.

        Raises
        ------
        ValueError
            Where a probability is outside [0, 1].
        """
        levels = check_probabilities(q, "quantiles")
        alike = levels.ndim == 0 or levels.shape[-1] == 1
        found = self._many_quantiles(levels.ravel()) if alike and len(self) >= MANY_ROWS else None
        if found is None:
            return super().ppf(q)
        return found.reshape(np.broadcast_shapes(levels.shape, (len(self),)))

    def _many_quantiles(self, levels: Array) -> Array | None:
        """Return quantiles of many rows, (k, n); None where few numbers of each row do not tell them."""
        if type(self.line) is not LinearPredictor or self.line.by_row is not None or not are_inside(levels):
            return None
        answer = np.empty((len(levels), len(self)))
        for here, likelihood in self._kinds(slice(None)):
            counting = None if likelihood is None else likelihood.given_underlying
            if likelihood is not None and likelihood.counted and counting is None:
                return None
            of = likelihood if likelihood is None or counting is None else likelihood.underlying
            laws, fine = self._laws(of, here)
            trials = self._trials[here]
            answer[:, here] = quantiles_of_laws(self._likelihood.link, counting, laws, trials, levels)
            if 2 * fine.sum() < len(fine):  # little is won
                return None
            some = rows_to_check(laws, fine, trials)
            lines, scales = self.line.at(here[some]), self._scales(here[some])
            held = None if of is None else (of, self._values(), scales)
            given = lines, laws.sds[some], trials[some], levels, answer[:, here[some]]
            if not agree(held, None if counting is None else likelihood, self._likelihood.link, *given):
                return None
            answer[:, here[~fine]] = self._slow_quantiles(levels, here[~fine])
        return answer

    def _laws(self, likelihood: Likelihood | None, here: NDArray[np.intp]) -> tuple[Laws, NDArray[np.bool_]]:
        """Return distributions of what underlies the targets of some rows, and which of these are to be trusted."""
        if likelihood is None:
            return laws_of_lines(line_cumulants(self.line, here))
        nodes, middle = self._nodes(likelihood), here[len(here) // 2 : len(here) // 2 + 1]
        typical, groups = (self.line.mean()[middle], self._scales(middle)), groups_of(nodes)
        added = self._noise or {} if likelihood.has_noise_scale else {"none": Part(1.0)}
        means = mean_parts(added, self.line.posterior, self.line.weights)

        def scales(rows: NDArray[np.intp]) -> Array:
            found = of_groups(groups, self._scales(here[rows]))
            return np.broadcast_to(found, (len(rows), len(groups)))

        of_rows = np.sqrt(np.broadcast_to(sum(means.values(), 0.0), len(self))[here])
        return laws_of(likelihood, nodes, self.line, here, typical, of_rows, scales)

    def _slow_quantiles(self, levels: Array, rows: NDArray[np.intp]) -> Array:
        """Return quantiles of some rows, (k, rows), from all of their nodes."""
        answer = np.empty((len(levels), len(rows)))
        for block in row_blocks(len(rows), self._width):
            mixture = self._mixture(rows[block])
            for i, level in enumerate(levels):
                answer[i, block] = mixture.quantile(np.full(len(rows[block]), level))
        return answer

    def pit(self, y: ArrayLike) -> Array:
        """Return the probability of less than y and half of that of y itself, where targets are discrete."""
        return self._by_row(lambda mixture, value: mixture.cdf(value) - 0.5 * mixture.at(value), y)

    def of_measurements(self) -> ResponsePredictive:
        """Return the distribution of what is measured, which scores are of.

        Warns
        -----
        UserWarning
            Where counts are not known: a score is then that of the underlying share.
        """
        known = self._trials > 0.0
        if not self._likelihood.counted or (known if self.measured is None else known | ~self.measured).all():
            return self
        if self._trials_in_fit is None and self._likelihood.per == "exposure":
            raise ValueError(
                "Events are scored without what they were counted over: keep it in a column of X (exposure_column),"
                " or give the scorer exposure (metadata routing)."
            )
        if self._trials_in_fit is None:
            warn(
                "Shares are scored without the counts behind them, as if they were the shares that underlie: keep the"
                " counts in a column of X (count_column), or give the scorer counts (metadata routing).",
            )
            return self
        other = copy(self)
        other._trials = np.where(known, self._trials, self._trials_in_fit)
        return other

    @property
    def variance_parts(self) -> dict[str, Array]:
        """What the variances are made of: name to (n,) variances that add up to `var()`.

        ``parameters``: the uncertainty of the mean; ``groups``: that of the effects of groups, also of new ones;
        ``scatter``: noise that no stated error explains, of counts what underlying shares or rates vary about the
        mean; ``target_error``: the stated standard error; ``finite_count``: the rest of the variance of a count by
        finite trials or exposure; ``feature_error``: the errors of the new row's features.
        """
        parts = {name: part for name, part in self._moments.items() if name != "mean"}
        if self._likelihood.has_noise_scale and self._include_noise:
            for name, part in self._noise_means().items():
                parts[name] = np.broadcast_to(part, (len(self),)).copy()
        return parts

    def covariance(self) -> Array:
        """Return the covariance of the rows with each other, (n, n): of the means, and the noise beside."""
        if self._likelihood.link.is_identity:
            covariance = self.line.covariance()
        else:
            n, weights = len(self), self.line.weights
            away = np.empty((n, len(weights)))
            for rows in self.line.blocks():
                lines = self.line.at(rows)
                first = np.zeros_like(lines.means)
                for mass, at_point in self._points(lines):
                    first += mass * at_point
                means = self._node_means(lines, first)[0]
                away[rows] = means - (means @ weights)[:, None]
            covariance = (away * weights) @ away.T + self.line.shared(self._likelihood.link)
        covariance[np.diag_indices(len(self))] = self.var()
        return covariance

    def sample(self, n_samples: int = 1, random_state: int | np.random.RandomState | None = None) -> Array:
        """Return random draws, (n, n_samples); each column is one draw of the line, with noise row by row.

        With ``random_state=None`` the seed is the one fixed in fit, so the draws are the same every time.
        """
        n_samples = check_n_samples(n_samples)
        rng = generator(self._seed if random_state is None else random_state)
        nodes, blocks, line = self.line.draws(n_samples, rng)
        answer = np.empty((len(self), n_samples))
        for rows in blocks:
            eta, left = line(rows)
            if self.line.has_feature_error:
                eta = eta + np.sqrt(left) * rng.standard_normal(eta.shape)
            for here, likelihood in self._kinds(rows):
                among = np.arange(len(self))[rows][here]
                if likelihood is None:
                    answer[among] = self._likelihood.link.mean(eta[here])
                else:
                    data = self._data(among, nodes)
                    answer[among] = likelihood.draw(eta[here], self._values(nodes), data, rng)
        return answer

    def log_density_at(self, rows: slice, eta: Array, y: Array, each: int = 1) -> Array:
        """Return the log density of new measurements at values of the linear predictor at every node.

        Parameters
        ----------
        rows : slice
        eta : ndarray of shape (rows, G K)
        y : ndarray of shape (rows,)
        each : int
            K.
        """
        among = np.arange(len(self))[rows]
        values = {name: np.repeat(value, each) for name, value in self._values().items()}
        found = np.empty(eta.shape)
        for here, likelihood in self._kinds(rows):
            if likelihood is None:
                raise ValueError("A mean is no measurement.")
            data = self._data(among[here])
            error = data.standard_error
            error = np.repeat(error, each, axis=1) if isinstance(error, np.ndarray) else error
            data = replace(data, y=y[here, None], standard_error=error)
            found[here] = likelihood.log_density(eta[here], values, data)
        return found

    def _values(self, nodes: NDArray[np.intp] | slice = slice(None)) -> dict[str, Array]:
        """Return the likelihood's parameters at nodes, (G,) each."""
        return {name: value[nodes] for name, value in self.line.posterior.auxiliary.items()}

    def _data(self, rows: NDArray[np.intp], nodes: NDArray[np.intp] | slice = slice(None)) -> Observations:
        """Return what is known of new measurements, (rows, 1), and their noise at nodes, (rows, G)."""
        trials = self._trials[rows, None]
        return Observations(
            np.zeros((len(rows), 1)), self._scales(rows, nodes), KNOWN, np.where(trials > 0.0, trials, 1.0)
        )

    def _scales(self, rows: NDArray[np.intp], nodes: NDArray[np.intp] | slice = slice(None)) -> Array | float:
        """Return the scale of added noise at nodes, (rows, G)."""
        if not self._likelihood.has_noise_scale:
            return 1.0
        at = None if isinstance(nodes, slice) else nodes
        return np.sqrt(noise_variance(self._noise or {}, self.line.posterior, rows, at))

    def _kinds(self, rows: slice | NDArray[np.intp]) -> list[tuple[NDArray[np.intp], Likelihood | None]]:
        """Return which of some rows are distributed by what likelihood; None: they are means."""
        known, own = self._trials[rows] > 0.0, self._likelihood
        if not self._include_noise:
            return [(np.arange(len(known)), None)]
        if not own.counted:
            return [(np.arange(len(known)), own)]
        found = [(np.flatnonzero(known), own), (np.flatnonzero(~known), own.underlying)]
        return [(here, likelihood) for here, likelihood in found if len(here)]

    def _points(self, lines: Lines) -> Iterator[tuple[float, Array]]:
        """Yield masses, and the means that lines have there, (rows, G K): a rule for each of their distributions."""
        link = self._likelihood.link
        if not lines.are_spread:
            yield 1.0, link.mean(lines.means)
            return
        sds = np.sqrt(lines.variances)
        for z, mass in zip(NORMAL_POINTS, NORMAL_MASSES, strict=True):
            yield mass, link.mean(lines.means + z * sds)

    def _node_means(self, lines: Lines, first: Array) -> tuple[Array, Array]:
        """Return the nodes' means, (rows, G), and how far their components' are from these, (rows, G K).

        Parameters
        ----------
        lines : Lines
        first : ndarray of shape (rows, G K)
            The components' means.
        """
        if lines.each == 1:
            return first, np.zeros((1, 1))
        split = (len(first), -1, lines.each)
        at_nodes = self.line.weights
        of_node = (lines.weights * first).reshape(split).sum(axis=2) / np.where(at_nodes > 0.0, at_nodes, 1.0)
        return of_node, first - np.repeat(of_node, lines.each, axis=1)

    @cached_property
    def _moments(self) -> dict[str, Array]:
        """Mean, and the parts of the variance but for noise that is added, (n,) each."""
        n, line, zero = len(self), self.line, np.zeros(len(self))
        noise = {"scatter": zero, "target_error": zero, "finite_count": zero}
        if self._likelihood.link.is_identity and self._likelihood.has_noise_scale:
            return {"mean": line.moments()[0]} | line.variance_parts() | noise
        mean, parameters, within, scatter, total = np.zeros((5, n))
        for rows in line.blocks():
            lines = line.at(rows)
            # About the mean at the middle, so that nothing cancels.
            middle = self._likelihood.link.mean(lines.means)
            first, second = np.zeros((2, *middle.shape))
            for mass, means in self._points(lines):
                self._add_variances(scatter, total, rows, lines, mass, means)
                means -= middle
                first += mass * means
                second += mass * np.square(means)
            second -= np.square(first)
            first += middle
            of_node, apart = self._node_means(lines, first)
            mean[rows] = of_node @ line.weights
            parameters[rows] = np.square(of_node - mean[rows, None]) @ line.weights
            second += np.square(apart)
            within[rows] = average(np.maximum(second, 0.0), lines.weights)
        parts = line.within(within)
        found = {"mean": mean, "parameters": parameters + parts.pop("parameters", 0.0)} | parts
        return found | {"scatter": scatter, "target_error": zero, "finite_count": total - scatter}

    def _add_variances(
        self, scatter: Array, total: Array, rows: slice, lines: Lines, mass: float, means: Array
    ) -> None:
        """Add to each row's mean variance given the mean, and to what underlying shares or rates have of it.

        Those at one point of every component, whose means are (rows, G K).
        """
        among = np.arange(len(self))[rows]
        for here, likelihood in self._kinds(rows):
            if likelihood is None:
                continue
            values, _ = lines.of_nodes(self._values(), 1.0)
            data, weights = self._data(among[here]), lines.take(here).weights
            found = self._mean_variance(likelihood, means[here], values, data, weights)
            total[among[here]] += mass * found
            underlying = likelihood.underlying if likelihood.counted else likelihood
            if underlying is not None:
                own = underlying is likelihood
                if not own:
                    found = self._mean_variance(underlying, means[here], values, data, weights)
                scatter[among[here]] += mass * found

    @staticmethod
    def _mean_variance(
        likelihood: Likelihood, means: Array, values: dict[str, Array], data: Observations, weights: Array
    ) -> Array:
        """Return the mean of the variance given the mean, over nodes."""
        variance = likelihood.variance(means, values, data)
        found = average(variance, weights)
        if np.isnan(found).any():
            found = average(np.where(np.isnan(variance), np.inf, variance), weights)
        return found

    def _noise_means(self) -> dict[str, Array | float]:
        """Return the posterior mean of each part of the variance of noise that is added."""
        weights = self.line.weights
        one = Observations(np.zeros(1), 1.0, KNOWN)
        wider = self._likelihood.variance(np.zeros(len(weights)), self._values(), one)
        noise, posterior = self._noise or {}, self.line.posterior
        if np.isfinite(wider[weights > 0.0]).all():
            return mean_parts(noise, posterior, weights * np.where(weights > 0.0, wider, 0.0))
        means = mean_parts(noise, posterior, weights)
        return {name: np.where(np.asarray(mean) > 0.0, np.inf, 0.0) for name, mean in means.items()}

    @property
    def _width(self) -> int:
        return 2**17 // 64  # that many rows per block: what is done row by row is then not lost in calls

    def _mixture(self, rows: slice | NDArray[np.intp]) -> Mixture:
        lines = self.line.at(rows)
        parts: list[tuple[NDArray[np.intp], Mixture]] = []
        among = np.arange(len(self))[rows]
        for here, likelihood in self._kinds(rows):
            own = lines.take(here)
            if likelihood is None:
                parts.append((here, self._of_means(own)))
                continue
            scales, trials = self._scales(among[here]), self._trials[rows][here]
            for found in self._nodes(likelihood).components(own, scales, trials[:, None]):
                if isinstance(found.few, NormalMixture):
                    made: Mixture = StepMixture(likelihood, trials[found.rows], found.few)
                elif likelihood.counted and isinstance(found.few, Components):
                    made = LatticeMixture(likelihood, trials[found.rows], found.few, found.many)
                else:
                    made = ResponseMixture(likelihood, found.few, found.many, found.noise, found.smooth)
                parts.append((here[found.rows], made))
        return parts[0][1] if len(parts) == 1 else Stacked(len(among), tuple(parts))

    def _of_means(self, lines: Lines) -> MeanMixture:
        """Return the distributions of means."""
        kernel_points = 129
        if lines.are_spread:
            found = gaussians(lines.means, lines.variances, lines.weights, kernel_points)
        else:
            found = smoothed(lines.means, lines.weights, kernel_points)
        return MeanMixture(self._likelihood.link, *found)

    def _nodes(self, likelihood: Likelihood) -> Nodes:
        """Return the nodes in groups that are alike under a likelihood, this one or what underlies."""
        line, grouped = self.line, _GROUPED.setdefault(self.line.posterior, {})
        if (key := (likelihood.name, line.is_spread)) not in grouped:
            terms = list(line.posterior.noise_terms[1:])
            grouped[key] = Nodes.of(likelihood, line.weights, self._values(), terms, is_spread=key[1])
        return grouped[key]
