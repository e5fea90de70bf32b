"""Whether a posterior can be normalised: flat priors, separated shares, noise that vanishes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import qr
from scipy.optimize import linprog
from sklearn.exceptions import ConvergenceWarning

from ..likelihoods.shares import counts
from ..measurements.compressed import compress
from ..measurements.messages import warn
from .problem import Problem

__all__ = ["ImproperPosterior", "check_proper", "warn_of_no_noise"]

Array = NDArray[np.float64]

# Rows that the linear program begins with, and gets more of at a time.
_ROWS = 2000

Blocks = Callable[[], Iterable[tuple[Array, Array, Array]]]


def is_separated(blocks: Blocks, size: int) -> bool:
    """Return whether the likelihood does not fall in some direction of the coefficients.

    Rows with both outcomes bound the coefficients along them from either side. Rows with one outcome alone leave
    free what has all of them on that outcome's side (Albert & Anderson 1984, Biometrika 71:1-10), which a linear
    program finds where there is such a direction (Konis 2007, Linear programming algorithms for detecting
    separated data in binary logistic regression models, University of Oxford). It is given a part of the rows, and
    then those that its solution has on the wrong side, until there are none or nothing is left but zero.

    Parameters
    ----------
    blocks : callable
        Returns (design, successes, failures) a block of rows at a time, (rows, size), (rows,) and (rows,).
    size : int
        Number of columns, which are linearly independent.
    """
    triangle = np.zeros((0, size))
    for design, successes, failures in blocks():
        both = (successes > 0.0) & (failures > 0.0)
        triangle = _triangle(triangle, design[both])
    free = _null_space(triangle, size)
    if free.shape[1] == 0:
        return False
    # A basis in which the rows are as alike in all directions as can be.
    triangle = np.zeros((0, free.shape[1]))
    for rows in _one_sided(blocks, free):
        triangle = _triangle(triangle, rows)
    basis = free @ np.linalg.pinv(triangle)
    total = sum((rows.sum(axis=0) for rows in _one_sided(blocks, basis, unit=True)), np.zeros(free.shape[1]))
    used = _worst(_one_sided(blocks, basis, unit=True), np.zeros(free.shape[1]), np.inf)
    # Rows have length one: a side on which none of them is further than this is no side, ...
    side = 1e-4
    max_turns = 100
    # ... and one on the wrong side by less is on its boundary (the linear program's own tolerance is a tenth of
    # this).
    wrong_side = 1e-6
    for _ in range(max_turns):
        solution = linprog(-total, A_ub=-used, b_ub=np.zeros(len(used)), bounds=(-1.0, 1.0), method="highs").x
        if solution is None or not np.abs(solution).max() > side:
            return False
        wrong = _worst(_one_sided(blocks, basis, unit=True), solution, -wrong_side)
        if not len(wrong):
            return any((rows @ solution > side).any() for rows in _one_sided(blocks, basis, unit=True))
        used = np.concatenate([used, wrong])
    return False


def _triangle(triangle: Array, rows: Array) -> Array:
    """Return the triangle of these rows and those before."""
    return np.asarray(np.linalg.qr(np.concatenate([triangle, rows]), mode="r"))


def _one_sided(blocks: Blocks, basis: Array, *, unit: bool = False) -> Iterator[Array]:
    """Yield the rows with one outcome, successes up and failures down, in a basis; with `unit` of length one."""
    for design, successes, failures in blocks():
        one = (successes > 0.0) != (failures > 0.0)
        rows = (design[one] * np.where(successes[one] > 0.0, 1.0, -1.0)[:, None]) @ basis
        if unit:
            norms = np.linalg.norm(rows, axis=1, keepdims=True)
            rows = rows[norms[:, 0] > 0.0] / norms[norms[:, 0] > 0.0]
        yield rows


def _worst(blocks: Iterable[Array], direction: Array, most: float) -> Array:
    """Return the rows least far in a direction, no further than `most`, not more than a linear program should get."""
    worst = np.zeros((0, len(direction)))
    for rows in blocks:
        worst = np.concatenate([worst, rows[rows @ direction < most]])
        if len(worst) > _ROWS:
            worst = worst[np.argsort(worst @ direction, kind="stable")[:_ROWS]]
    return worst


def _null_space(triangle: Array, size: int) -> Array:
    """Return a basis, (size, k), of what rows of this triangle don't reach."""
    norms = np.linalg.norm(triangle, axis=0)
    norms = np.where(norms > 0.0, norms, 1.0)
    _, singular, right = np.linalg.svd(triangle / norms)
    # Singular values of the rows with both outcomes, of columns of length one, below which a direction is free.
    free = 1e-10
    reached = int(np.count_nonzero(singular > free * size))
    return np.asarray(right[reached:].T / norms[:, None])


# Columns are collinear where no more than this share of one is its own: that is rounding. Below the second there are
# six digits or less.
_COLLINEAR, _NEARLY_COLLINEAR = 1e-14, 2e-10


class ImproperPosterior(ValueError):  # noqa: N818 - a ValueError that callers can tell from others
    """The data and priors leave something unbounded, so that there is no posterior."""


def warn_of_no_noise() -> None:
    """Warn that nothing bounds the noise scale from below."""
    warn(
        "The features fit the target without error (a constant target, or more columns than distinct"
        " rows?), so the data do not bound the noise from below: its scale is cut off at the resolution of"
        " the data, and the intervals are not to be trusted. Use fewer features, a narrower coef_prior, or"
        " give y_err.",
        ConvergenceWarning,
    )


def check_proper(problem: Problem) -> None:
    """Refuse a problem whose posterior can't be normalised, (12).

    Raises
    ------
    ValueError
        Naming the prior that is to blame and what to use instead.
    """
    prior = problem.gaussian_prior
    if prior is None:
        return
    flat = np.isinf(prior[1])
    if flat.any():
        # Any row determines an intercept that alone is flat.
        if flat[int(problem.fit_intercept) :].any() or not problem.total_weight > 0.0:
            _check_determined(problem, flat)
        if problem.limits is not None:
            _check_limits(problem, flat)
        elif problem.likelihood.counted:
            _check_overlap(problem, flat)
    if "noise_scale" not in [parameter.name for parameter in problem.auxiliary]:
        return
    if not problem.tail > 2.0:
        _check_tail(problem, int(np.count_nonzero(flat)))


def _check_tail(problem: Problem, n_flat: int) -> None:
    """Refuse a noise scale that nothing bounds from above; warn of one without a variance."""
    rows = (
        f"with noise_prior={problem.noise_prior!r}, a total sample weight of {problem.total_weight:g} and"
        f" {n_flat} flat coefficients"
    )
    remedy = "Use a noise_prior with a lighter tail, such as HalfNormal(), or more rows."
    if not problem.tail > 0.0:
        raise ImproperPosterior(
            f"The posterior is improper: {rows}, nothing bounds the noise scale from above. {remedy}"
        )
    warn(
        f"The variance of the noise is infinite: {rows}, its tail is too heavy for one. Quantiles and intervals are"
        f" right, standard deviations are not. {remedy}",
    )


def _check_determined(problem: Problem, flat: NDArray[np.bool_]) -> None:
    """Refuse flat coefficients that the rows do not determine, and warn where rounding leaves few of their digits."""
    n_rows, columns = problem.state.n_rows, int(np.count_nonzero(flat))
    determined, least = _own_shares(problem.factor[0], problem.fit_intercept, flat)
    weighted = isinstance(problem.standard_error, np.ndarray) or problem.rows.frequency is not None
    if least < _NEARLY_COLLINEAR and weighted:
        # Few heavy rows look collinear, whatever the light ones say: without weights it shows whether columns are.
        rows = problem.rows
        if rows.frequency is not None:
            rows = replace(rows, frequency=(rows.frequency > 0.0).astype(np.float64))
        factor = problem.scaling.factor(compress(rows, 1.0), 1.0)
        determined, least = _own_shares(factor, problem.fit_intercept, flat)
    if determined == columns and least < _NEARLY_COLLINEAR:
        digits = max(int(np.log10(least / np.finfo(np.float64).eps)), 0)
        warn(
            f"The {columns} columns with a flat prior are collinear but for {least:.1g} of them: of what tells their"
            f" coefficients apart the rounding of X leaves about {digits} digits. Drop columns, center and scale"
            " before powers are taken (or use orthogonal polynomials), or use coef_prior=Normal(...).",
            ConvergenceWarning,
        )
    if determined < columns:
        reason = (
            f"{n_rows} rows do not determine {columns} coefficients with a flat prior"
            if n_rows <= columns
            else f"the {columns} columns with a flat prior are constant or collinear"
        )
        raise ImproperPosterior(
            f"The posterior is improper: {reason}, so the data leave some combination of them free."
            " Use coef_prior=Normal(...), or drop columns."
        )


def _own_shares(factor: Array, fit_intercept: bool, flat: NDArray[np.bool_]) -> tuple[int, float]:
    """Return how many of the flat columns are no combination of others, and the least part of one that is its own."""
    design = (factor[:, :-1] if fit_intercept else factor[:, 1:-1])[:, flat]
    norms = np.linalg.norm(design, axis=0)
    if not (norms > 0.0).all():
        return 0, 0.0
    diagonal = np.abs(np.diag(qr(design / norms, mode="r", pivoting=True)[0]))
    return int(np.count_nonzero(diagonal > _COLLINEAR * len(norms))), float(diagonal.min())


def _check_overlap(problem: Problem, flat: NDArray[np.bool_]) -> None:
    """Refuse flat coefficients along which the likelihood of shares, or of events, does not fall."""
    mean = problem.rows.y if problem.rows.frequency is None else problem.rows.y[problem.rows.frequency > 0.0]
    of_events = problem.likelihood.per == "exposure"
    ends = (0.0,) if of_events else (0.0, 1.0)
    if problem.fit_intercept and flat[0] and (mean == mean[0]).all() and mean[0] in ends:
        every = (
            "no event was counted" if of_events else f"every trial is a {'success' if mean[0] else 'failure'}"
        )
        raise ImproperPosterior(
            f"The posterior is improper: {every}, so that nothing bounds the intercept. Use"
            " intercept_prior=Normal(...), and coef_prior=Normal(...)."
        )
    if is_separated(lambda: _flat_blocks(problem, flat), int(np.count_nonzero(flat))):
        kinds = "rows without events from the others" if of_events else "successes from failures"
        raise ImproperPosterior(
            f"The posterior is improper: the columns with a flat prior separate {kinds}, so that"
            " nothing bounds their coefficients. Use coef_prior=Normal(...) (and for the intercept"
            " intercept_prior=Normal(...)), or drop the columns that separate."
        )


def _check_limits(problem: Problem, flat: NDArray[np.bool_]) -> None:
    """Refuse flat coefficients along which the probabilities of limits do not fall, and no row was measured."""
    if is_separated(lambda: _flat_blocks(problem, flat), int(np.count_nonzero(flat))):
        which = (
            "intercept_prior=Normal(...)" if flat[0] and problem.fit_intercept else "coef_prior=Normal(...)"
        )
        raise ImproperPosterior(
            "The posterior is improper: of the columns with a flat prior (the intercept's among them, by default) the"
            " rows that were measured leave some combination free, and the limits of the others (y_censored, y_upper)"
            f" bound it on one side alone. Use {which}."
        )


def _flat_blocks(problem: Problem, flat: NDArray[np.bool_]) -> Iterator[tuple[Array, Array, Array]]:
    """Yield the columns of [1, x] that have a flat prior, in the model's units, successes and failures.

    Rates without an end are bounded from above by every row, as by a failure.
    """
    data = problem.observations()
    for block, design in problem.design_blocks():
        here = data.take(block)
        if problem.likelihood.counted:
            successes, failures = counts(here)
        else:
            successes = failures = np.ones(len(here.y))
        if problem.likelihood.per == "exposure":
            failures = np.ones_like(successes)
        if here.limits is not None:
            # What bounds the line from below, and from above.
            ends = (np.isfinite(end).astype(np.float64) for end in (here.limits.lower, here.limits.upper))
            successes, failures = (
                np.where(here.limits.censored, *pair)
                for pair in zip(ends, (successes, failures), strict=True)
            )
        used = slice(None) if problem.rows.frequency is None else problem.rows.frequency[block] > 0.0
        yield design[used][:, flat], successes[used], failures[used]
