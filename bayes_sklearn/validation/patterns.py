"""Patterns in how rows lie off the line: what is wrong with the model, and no size of the errors mends.

All tests are of least squares' residuals in units of the noise as fitted, after directions are added that stand for
what might be wrong. Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, stats

__all__ = [
    "CORRELATED",
    "CURVE",
    "MEASURED",
    "UNEVEN",
    "LineRows",
    "Pattern",
    "find_patterns",
    "orthonormal",
]

Array = NDArray[np.float64]

Labels = NDArray[np.intp]

Ranks = dict[str, Array]

MEASURED = "errors from measured values"

CURVE = "missed curve"

CORRELATED = "correlated rows"

UNEVEN = "uneven noise"

_PREDICTION = "prediction"

# Rows that the line follows more closely than this say little of their noise.
_LARGEST_LEVERAGE = 0.95

# Residual degrees of freedom that a test has to have.
_FEWEST = 5

_TINY = float(np.finfo(float).tiny)


@dataclass(frozen=True)
class Pattern:
    """What the test for one pattern found.

    Parameters
    ----------
    p : float
        Probability of one as strong where there is none.
    strength : float
        "errors from measured values": correlation of the stated errors' logarithm with the noise. "missed curve":
        share of the variance about the line that the curve explains. "correlated rows": intraclass correlation.
        "uneven noise": size of the noise in the third of the rows where what it varies along is largest, over that
        where it is least.
    along : str or None
        "prediction" or a feature, where the pattern is one along something.
    design_effect : float or None
        Of "correlated rows": by how much larger the variance is, of what a group's rows have in common, than that of
        independent rows.
    """

    p: float
    strength: float
    along: str | None = None
    design_effect: float | None = None


class LineRows(NamedTuple):
    """Rows beside the line, (n,) each."""

    residual: Array
    """In units of the noise's standard deviation, as fitted."""
    scale: Array
    """That standard deviation."""
    design: Array
    """(n, P) derivatives of the prediction by the line's coefficients, in units of it."""
    prediction: Array
    features: Array
    """(n, p)"""
    names: list[str]
    stated: Array | None
    """Standard errors of y that were given, not computed from the line; None where none were."""
    trials: Array | None
    """Counts behind shares."""
    groups: Labels | None
    """Numbered from 0."""
    nu: float
    """Degrees of freedom of the noise, infinite where it is normal."""


def find_patterns(rows: LineRows) -> dict[str, Pattern]:
    """Return what the tests found that the rows allow, by the name of their verdict."""
    # Residuals below this part of the noise are those of a fit without error.
    no_error = 1e-10
    # Groups whose correlation has a p value below this are allowed for in the other tests.
    suspect = 0.1
    line = _Line(rows.design, _scores(rows))
    if line.degrees < _FEWEST or np.linalg.norm(line.residual) < no_error * len(rows.residual) ** 0.5:
        return {}
    ranks = {_PREDICTION: _rank(rows.prediction)}
    if rows.features.shape[1] > 1:  # of one feature the prediction has the same ranks
        ranks |= {name: _rank(x) for name, x in zip(rows.names, rows.features.T, strict=True)}
    found: dict[str, Pattern] = {}
    together = None
    if rows.groups is not None:
        found |= _correlated(line, 1.0 / rows.scale, rows.groups)
        # What groups have in common looks like a curve along what differs between them.
        if CORRELATED in found and found[CORRELATED].p < suspect:
            together = rows.groups
    if rows.stated is not None and np.ptp(np.log(rows.stated)) > 1e-9:
        found |= _from_measured(rows, line, np.log(rows.stated), ranks, together)
    found |= _curve(line, rows.scale, ranks, together)
    if rows.trials is None or rows.trials.max() > 1.0:
        found |= _uneven(rows, line, ranks)
    return found


class _Line:
    """Least squares, and what it leaves: neither the prior nor the rows' weights in the fit play a part."""

    def __init__(self, design: Array, residual: Array) -> None:
        self.basis = orthonormal(design)
        self.residual = self.off(residual)
        self.leverage = np.minimum(np.square(self.basis).sum(axis=1), _LARGEST_LEVERAGE)
        self.degrees = len(design) - self.basis.shape[1]

    def off(self, columns: Array) -> Array:
        """Return columns less what the line follows of them."""
        for _ in range(2):  # once leaves rounding
            columns = columns - self.basis @ (self.basis.T @ columns)
        return columns

    def beyond(self, columns: Array) -> Array:
        """Return an orthonormal basis of what the line can't follow of columns."""
        size = np.linalg.norm(columns, axis=0)
        return _basis(self.off(columns[:, size > 0.0] / size[size > 0.0]))


def orthonormal(columns: Array) -> Array:
    """Return an orthonormal basis of the span of columns."""
    size = np.linalg.norm(columns, axis=0)
    return _basis(columns[:, size > 0.0] / size[size > 0.0])


def _basis(columns: Array) -> Array:
    """Return an orthonormal basis of the span of columns of length 1, or less where they are parts of such."""
    # Directions that keep less than this part of their length, when what is known is taken off, are rounding.
    new = 1e-6
    if not columns.shape[1]:
        return columns
    q, r, _ = linalg.qr(columns, mode="economic", pivoting=True, check_finite=False)
    return np.asarray(q[:, np.abs(np.diag(r)) > new])


def _scores(rows: LineRows) -> Array:
    """Return the residuals, of Student's noise what they say of where the line is."""
    if np.isinf(rows.nu):
        return rows.residual
    # As fitted, such noise counts as normal noise that is as informative, (52).
    t = rows.residual * np.sqrt((rows.nu + 3.0) / (rows.nu + 1.0))
    return t * (rows.nu + 1.0) / (rows.nu + np.square(t))


def _rank(values: Array) -> Array:
    """Return ranks, between -1 and 1."""
    return np.asarray((2.0 * stats.rankdata(values) - 1.0) / len(values) - 1.0)


def _polynomials(rank: Array) -> Array:
    """Return the Legendre polynomials of degree 1 to 3."""
    return np.column_stack([rank, 1.5 * rank**2 - 0.5, 2.5 * rank**3 - 1.5 * rank])


def _p_value(line: _Line, directions: Array, *, robust: bool = True, groups: Labels | None = None) -> float:
    """Return the probability of residuals as far along orthonormal directions beyond the line as these, (60a).

    F's, which is exact for normal noise as fitted; if robust, the larger of it and a sandwich's, which holds where
    noise varies in a way that was not fitted; with groups, the largest of these and of scores by group.
    """
    q = directions.shape[1]
    degrees = line.degrees - q
    if q == 0 or degrees < 1:
        return 1.0
    along = directions.T @ line.residual
    rest = line.residual - directions @ along
    p = float(stats.f.sf(along @ along / q / max(float(rest @ rest) / degrees, _TINY), q, degrees))
    if robust:
        leverage = np.minimum(line.leverage + np.square(directions).sum(axis=1), _LARGEST_LEVERAGE)
        scores = directions * (rest / (1.0 - leverage))[:, None]
        p = max(p, float(stats.f.sf(_quadratic(along, scores) / q, q, degrees)))
    if groups is not None:
        scores = np.stack([np.bincount(groups, s) for s in (directions * line.residual[:, None]).T], axis=1)
        free = len(scores) - q
        if free < 1:
            return 1.0
        share = min(_quadratic(along, scores) / len(scores), 1.0 - 1e-12)
        p = max(p, float(stats.f.sf(share / (1.0 - share) * free / q, q, free)))
    return p


def _quadratic(along: Array, scores: Array) -> float:
    """Return b' (S'S)^-1 b."""
    try:
        root = linalg.cholesky(scores.T @ scores, lower=True)
    except linalg.LinAlgError:  # scores of fewer rows than directions
        return 0.0
    return float(np.square(linalg.solve_triangular(root, along, lower=True)).sum())


def _curve(line: _Line, scale: Array, ranks: Ranks, groups: Labels | None) -> dict[str, Pattern]:
    """Return which bends of the prediction, or of a feature, the residuals follow, (60b)."""
    best = Pattern(1.0, 0.0)
    total = float(line.residual @ line.residual)
    for name, rank in ranks.items():
        directions = line.beyond(_polynomials(rank)[:, 1:] / scale[:, None])
        p = _p_value(line, directions, groups=groups)
        if p < best.p:
            left = total - float(np.square(directions.T @ line.residual).sum())
            part = 1.0 - left / (line.degrees - directions.shape[1]) / (total / line.degrees)
            best = Pattern(p, max(part, 0.0), name)
    return {CURVE: Pattern(min(1.0, len(ranks) * best.p), best.strength, best.along)}


def _from_measured(
    rows: LineRows, line: _Line, log: Array, ranks: Ranks, groups: Labels | None
) -> dict[str, Pattern]:
    """Return whether stated errors go with the noise of their own rows, (60c)."""
    n, size = len(log), np.abs(rows.prediction)
    smooth = [np.ones((n, 1)), _polynomials(ranks[_PREDICTION])]
    if size.min() > 0.0:
        smooth.append(np.log(size)[:, None])
    of_features = [_polynomials(rank) for name, rank in ranks.items() if name != _PREDICTION]
    # Where there are too few rows, errors that follow a feature are not told from those that follow the line.
    if sum(part.shape[1] for part in smooth + of_features) <= n / 2:
        smooth += of_features
    beyond = _Line(np.column_stack(smooth), log).residual
    # The weights are those in which noise has no say.
    change = np.exp(beyond)
    scale = rows.scale / change
    bends = [_polynomials(rank)[:, 1:] / scale[:, None] for rank in ranks.values()]
    for known in (bends, bends[:1], []):
        beside = _Line(np.column_stack([rows.design * change[:, None], *known]), line.residual * change)
        if beside.degrees >= _FEWEST:
            break
    direction = beside.beyond(beyond[:, None])
    if not direction.shape[1]:
        return {}
    cosine = direction[:, 0] @ beside.residual / max(float(np.linalg.norm(beside.residual)), _TINY)
    correlation = float(cosine * np.sign(direction[:, 0] @ beyond))
    return {MEASURED: Pattern(_p_value(beside, direction, groups=groups), correlation)}


def _uneven(rows: LineRows, line: _Line, ranks: Ranks) -> dict[str, Pattern]:
    """Return whether the size of residuals grows or falls along the prediction, or a feature, (60d)."""
    residual = line.off(rows.residual) / np.sqrt(1.0 - line.leverage)
    size = np.abs(residual)
    if rows.trials is None:
        above = residual > 0.0
        flat = _Line(np.ones((len(size), 1)), residual * (above - above.mean()))
    else:  # a share's distribution differs from row to row, but for its variance
        flat = _Line(np.ones((len(size), 1)), np.square(residual))
    flat.degrees = line.degrees  # the line has made residuals alike
    best = Pattern(1.0, 1.0)
    for name, rank in ranks.items():
        p = _p_value(flat, flat.beyond(rank[:, None]), robust=rows.trials is not None)
        if p < best.p:
            lower, upper = np.quantile(rank, [1.0 / 3.0, 2.0 / 3.0])
            ratio = np.mean(size[rank >= upper]) / max(float(np.mean(size[rank <= lower])), _TINY)
            best = Pattern(p, float(ratio), name)
    return {UNEVEN: Pattern(min(1.0, len(ranks) * best.p), best.strength, best.along)}


def _correlated(line: _Line, shared: Array, groups: Labels) -> dict[str, Pattern]:
    """Return whether residuals of a group go together, (60e); nothing where there are too few groups or rows.

    `shared` is what groups may have in common, which is as large in each row, in units of the row's noise.
    """
    weight = np.bincount(groups, np.square(shared))

    def within(column: Array) -> Array:
        return np.asarray(column - shared * (np.bincount(groups, shared * column) / weight)[groups])

    residual = within(line.residual)
    basis = _basis(np.stack([within(column) for column in line.basis.T], axis=1))
    total, left = (float(r @ r) for r in (line.residual, residual - basis @ (basis.T @ residual)))
    inside = len(residual) - len(weight) - basis.shape[1]
    between = line.degrees - inside
    if inside < 1 or between < 1:
        return {}
    variance = max(left / inside, _TINY)
    seen = weight.sum() - sum(np.square(np.bincount(groups, shared * b)).sum() for b in line.basis.T)
    p = float(stats.f.sf((total - left) / between / variance, between, inside))
    p = max(p, _of_pairs(line, shared, groups, float(seen)))
    # Henderson's third method.
    common = max(0.0, (total - left - between * variance) / seen) * float(np.mean(np.square(shared)))
    correlation = float(common / (common + variance))
    rows = np.bincount(groups)
    of_a_row = float(np.square(rows).sum() / rows.sum())
    return {CORRELATED: Pattern(p, correlation, None, 1.0 + (of_a_row - 1.0) * correlation)}


def _of_pairs(line: _Line, shared: Array, groups: Labels, seen: float) -> float:
    """Return the probability of products of pairs in groups that add up to as much, whatever each row's variance.

    The sum's variance is that of signs that are independent.
    """
    values = shared * line.residual
    own = np.square(values)
    square = own / (1.0 - line.leverage)
    products = np.square(np.bincount(groups, square)) - np.bincount(groups, np.square(square))
    # What the line has taken from pairs, of noise as fitted.
    variance = float(line.residual @ line.residual) / line.degrees
    taken = variance * (seen - float(np.square(shared) @ (1.0 - line.leverage)))
    excess = float(np.square(np.bincount(groups, values)).sum() - own.sum()) - taken
    return float(stats.norm.sf(excess / np.sqrt(max(2.0 * float(products.sum()), _TINY))))
