"""What a sampler gets of a problem: compressed rows, in coordinates in which the posterior is about standard normal.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .compressed import Groups
from .interpolation import Series
from .posterior import Posterior
from .problem import Problem
from .pymc_model import Layout, prior_parameters, typical_unit

Array = NDArray[np.float64]

# Bits that are kept. Rounding errors, which depend on the order of the data's rows, would otherwise grow into other
# draws.
_BELOW_NOISE = 30
_BELOW_ROWS = 37
"""Below the length of a column: no fewer are kept below the noise than the column has."""
_OF_DOUBLE = 46
"""That a sum of many doubles has."""
_BELOW_LEAST = 6
"""Below a matrix' least singular value."""
_OF_PLACES = 20
"""Of what only places the coordinates."""


@dataclass(frozen=True, eq=False)
class CompressedData:
    """The compressed rows and the coordinates."""

    arrays: dict[str, Array | float]
    """Everything, by the names in `pymc_model.sampler_model`."""
    series: Series | None = None
    """Noise "additive": the compressed rows as functions of the scatter."""
    limits: tuple[float, float] = (0.0, np.inf)
    """Where the series holds."""

    def holds(self, scale: Array | None) -> bool:
        """Return whether every draw of the scatter is inside the limits."""
        return scale is None or bool(((scale >= self.limits[0]) & (scale <= self.limits[1])).all())

    def rows(self, scale: Array) -> Array:
        """Return the rows, divided by their noise at each scale, (G, K, columns)."""
        factor = np.asarray(self.arrays["factor"])
        if self.series is not None:
            values = self.series(scale)[:, :-1]
            width = int(np.sqrt(values.shape[1]))
            return values.reshape(len(scale), width, width)
        if "resolution" in self.arrays:
            return factor / np.hypot(scale, self.arrays["resolution"])[:, None, None]
        return np.broadcast_to(factor, (len(scale), *factor.shape))


def compressed_data(
    problem: Problem, start: Posterior, groups: Groups | None = None, widening: int = 0
) -> CompressedData:
    """Return the compressed rows and the coordinates, (15), (16).

    Parameters
    ----------
    problem : Problem
    start : Posterior
        A Gaussian approximation in the model's units: it sets the coordinates, and changes no density.
    groups : Groups, default=None
        Noise "additive": stand for the rows where they are exact.
    widening : int, default=0
        How often the range of the scatter proved too narrow.
    """
    layout, scale = Layout.of(problem), start.noise_scale
    arrays: dict[str, Array | float] = dict(prior_parameters(problem))
    typical = 1.0
    if layout.noise:
        center = float(start.weights @ np.log(scale))
        width = max(float(np.sqrt(start.weights @ np.square(np.log(scale) - center))), 1e-8)
        if layout.follows:  # coordinates are those at one noise scale, and then follow it
            node = int(np.abs(np.log(scale) - center).argmin())
            start, center = replace(start, weights=np.eye(1, len(scale), node)[0]), float(np.log(scale[node]))
        place = _rounded(np.array([center, width]), width, _OF_PLACES)
        arrays["log_scale"] = place
        typical = float(np.exp(place[0])) if problem.noise == "scaled" else 1.0
    if layout.sampled:
        free = slice(0 if problem.fit_intercept else 1, None)
        root = start.root[:, free][:, : layout.sampled]
        sd = np.linalg.norm(root, axis=0)
        _, singular, right = np.linalg.svd(root / sd)
        # The symmetric root of the correlations; rounding must not make it singular.
        bits = max(_BELOW_ROWS, _BELOW_LEAST - int(np.log2(max(singular[-1], np.finfo(np.float64).eps))))
        arrays["spread"] = _rounded(sd, sd, _OF_PLACES)[:, None] * _rounded(
            (right.T * singular) @ right, 1.0, bits
        )
        arrays["start"] = _rounded(start.mean[free][: layout.sampled], sd, bits)
    if layout.mixture:
        arrays["unit"] = float(_rounded(typical_unit(problem), typical_unit(problem), _BELOW_ROWS))
        if problem.noise == "additive":
            arrays["total_weight"] = problem.total_weight
    if problem.noise == "additive":
        source = groups if groups is not None and groups.exact else None
        return _interpolated(problem, layout, arrays, scale, source, widening)
    if problem.noise == "scaled":
        arrays["total_weight"] = problem.total_weight
        arrays["resolution"] = float(_rounded(problem.resolution(), problem.resolution(), _OF_PLACES))
    factor, _ = problem.factor
    rows = _canonical(_in_coordinates(problem, layout, arrays, factor), layout, problem.state.n_rows)
    arrays["factor"] = _rounded(rows, *_sizes(rows, factor, layout, typical))
    if layout.follows:
        _follow(arrays, typical)
    return CompressedData(arrays)


def _follow(arrays: dict[str, Array | float], typical: float) -> None:
    """Turn the coordinates so that each has a mean and a deviation of its own at any other noise scale, (15a).

    The rows are rounded before: whatever basis the decomposition returns, it is the same for data in any order.
    """
    rows = np.asarray(arrays["factor"])
    design, target = rows[:, :-1], rows[:, -1]
    _, singular, right = np.linalg.svd(design, full_matrices=False)
    turned = design @ right.T
    arrays["share"] = np.minimum(np.square(singular / typical), 1.0)
    arrays["pull"] = turned.T @ target / typical**2
    arrays["spread"] = arrays["spread"] @ right.T
    arrays["factor"] = np.column_stack([turned, target])


def _in_coordinates(
    problem: Problem, layout: Layout, arrays: dict[str, Array | float], factor: Array
) -> Array:
    """Return rows of [D A, D', y - D b]: D the columns of [1, x] whose entries of B are b + A u, D' the others."""
    rows = factor if problem.fit_intercept else factor[:, 1:]
    if not layout.sampled:
        return rows
    design = rows[:, : layout.sampled]
    target = rows[:, -1] - design @ arrays["start"]
    return np.column_stack([design @ arrays["spread"], rows[:, layout.sampled : -1], target])


def _interpolated(
    problem: Problem,
    layout: Layout,
    arrays: dict[str, Array | float],
    scale: Array,
    source: Groups | None,
    widening: int,
) -> CompressedData:
    """Return the data with the compressed rows as a series in the scatter, (16)."""
    root_weight = np.sqrt(problem.total_weight)

    def functions(scatter: float) -> Array:
        factor, log_error = problem.factor_at(scatter, source)
        rows = _canonical(_in_coordinates(problem, layout, arrays, factor), layout, len(factor))
        # The two are of like size, and as accurate as the log density has to be.
        return np.append(rows, log_error / root_weight)

    used = slice(None) if problem.rows.frequency is None else problem.rows.frequency > 0.0
    error = np.asarray(problem.standard_error, dtype=np.float64)
    smallest = float((error[used] if error.ndim else error).min()) / problem.error_unit
    # As far again to either side as the Gaussian approximation reaches.
    inner = 0.5 * np.log(np.square([scale.min(), scale.max()]) + smallest**2)
    reach = 2.0**widening * np.ptp(inner)
    outer = np.exp(2.0 * (inner + np.array([-reach, reach]))) - smallest**2
    lower, upper = (float(_rounded(end, end, _OF_PLACES)) for end in np.sqrt(np.maximum(outer, 0.0)))
    smallest = float(_rounded(smallest, smallest, _OF_PLACES))
    series = Series.fit(functions, smallest, lower, upper)
    coefficients = series.coefficients
    width = problem.rows.n_features + 1 + problem.fit_intercept
    rows = coefficients[:, :-1].reshape(-1, width, width)
    factor, _ = problem.factor_at(float(np.median(scale)), source)
    rows = _rounded(rows, *_sizes(rows, factor, layout, 1.0))
    log_error = _rounded(coefficients[:, -1] * root_weight, 1.0, _BELOW_NOISE)
    values = np.column_stack([rows.reshape(len(rows), -1), log_error])
    arrays["factor"] = values
    arrays["interval"] = np.array([series.smallest, series.middle, series.half])
    return CompressedData(arrays, replace(series, coefficients=values), (lower, upper))


def _canonical(rows: Array, layout: Layout, n_rows: int) -> Array:
    """Return rows with the same sums of squares and products that don't depend on the order of the data's, (15).

    The polar factor, symmetric, has no rows whose signs or order could differ. Under a mixture each row costs a
    factorisation's row in every step, and fewer rows than columns are left as they are.
    """
    if layout.mixture and n_rows < rows.shape[1]:
        return rows[:n_rows] * np.where(np.diag(rows[:n_rows]) < 0.0, -1.0, 1.0)[:, None]
    sizes = np.ones(rows.shape[1])
    if layout.mixture:  # columns that have a unit of their own
        own = np.linalg.norm(rows[:, layout.sampled : -1], axis=0)
        sizes[layout.sampled : -1] = np.where(own > 0.0, own, 1.0)
    _, singular, right = np.linalg.svd(rows / sizes)
    return np.asarray((right.T * singular) @ right * sizes)


def _sizes(rows: Array, factor: Array, layout: Layout, typical: float) -> tuple[Array, int]:
    """Return the magnitudes that columns are rounded against, and the bits kept below them.

    Noise of size `typical` is what the columns in the sampler's coordinates are seen against; digits that the data
    themselves don't have are dropped in any case.
    """
    sizes = np.full(rows.shape[-1], typical * 2.0 ** (_BELOW_ROWS - _BELOW_NOISE))
    # The first row holds the target's distance from zero, which is there to more digits than its spread.
    target = np.linalg.norm(factor[1:, -1]) + 2.0 ** (_BELOW_ROWS - _OF_DOUBLE) * np.linalg.norm(
        factor[:, -1]
    )
    sizes = np.maximum(sizes, target)
    if layout.mixture:
        sizes[layout.sampled : -1] = np.linalg.norm(factor[:, 1:-1], axis=0)
    return sizes, _BELOW_ROWS


def _rounded(values: Array | float, magnitude: Array | float, bits: int) -> Array:
    """Return values rounded to so many bits below a magnitude."""
    with np.errstate(divide="ignore", invalid="ignore"):
        unit = np.exp2(np.ceil(np.log2(magnitude)) - bits)
        return np.where(unit > 0.0, np.rint(np.divide(values, unit)) * unit, values)
