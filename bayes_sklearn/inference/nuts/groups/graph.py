"""Groups' effects in PyTensor, in coordinates that follow their standard deviations, the coefficients and the noise.

Given these, the rows' log density about a rough fit and the effects' prior are one Gaussian: coordinates of unit
scale about its mean, in its own directions, are alike whether rows say much of a group, little, or nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...groups.drawn import DrawnEffects, DrawnLevels
from ...groups.effects import Layout
from ...problem import Problem
from ..formulation import Draws, picked
from ..pymc_priors import of_role, positive_density, priors_of
from .rough_fit import vanishing

__all__ = ["EffectsGraph", "GroupScales", "GroupsAt", "effects_of", "layout_of", "n_coordinates"]


def layout_of(problem: Problem) -> Layout:
    """Return which effects there are."""
    groupings = problem.groupings
    if groupings is None:
        raise ValueError("The problem has no groups.")
    return Layout(groupings.sizes, groupings.slopes)


def n_coordinates(problem: Problem) -> int:
    """Return how many coordinates standard deviations and effects have."""
    if problem.groupings is None:
        return 0
    layout = layout_of(problem)
    effects = sum(size * width for size, width in zip(layout.sizes, layout.widths, strict=True))
    return layout.n_scales + effects


class GroupScales(NamedTuple):
    """Standard deviations of effects."""

    signed: Any
    """(scales,) with a sign, so that chains pass through zero."""
    log_density: Any
    """Their prior's, in the coordinates."""

    @classmethod
    def of(cls, problem: Problem, given: Mapping[str, Any], u: Any, of: str = "effect") -> GroupScales:
        """Return them at coordinates, (scales,), of effects or levels.

        They become the variable ``group_scales``, or ``level_scales``, of the model in hand.
        """
        import pymc as pm
        import pytensor.tensor as pt

        effects = of == "effect"
        c = given[f"{of}_place"] + given[f"{of}_spread"] * u
        if vanishing(problem):
            signed, log_slope = pt.exp(c), c
        else:
            signed = given[f"{of}_unit"] * pt.sinh(c)
            log_slope = pt.log(given[f"{of}_unit"]) + pt.log(pt.cosh(c))
        size = pm.Deterministic("group_scales" if effects else "level_scales", pt.abs(signed))
        parameters = of_role(given, "group_prior")
        prior = priors_of(problem)["group_prior"]
        density = positive_density(
            prior, "group_prior", parameters, size / (given["group_unit"] if effects else 1.0)
        )
        return cls(signed, (density + log_slope).sum())


@dataclass(frozen=True, eq=False)
class EffectsGraph:
    """The Gaussian of effects and all else that is linear, the effects being eliminated one after the other."""

    layout: Layout
    scales: Any
    """(scales,) signed standard deviations."""
    lower: list[list[Any]]
    """Triangles of the main grouping's effects, of (J,) each."""
    across: list[Any]
    """Of each of its terms, (J, m + k + 1), in the triangles' directions."""
    root: Any
    """(m, m) lower triangle of the others, or None."""
    others: Any
    """(m, k + 1)"""
    curvature: Any
    """(k, k) what rows say of B, effects integrated over."""
    pull: Any
    """(k,)"""

    @classmethod
    def of(cls, problem: Problem, given: Mapping[str, Any], scales: Any, more: Any) -> EffectsGraph:
        """Return it at standard deviations; `more` as for `coefficients_at`."""
        import pytensor.tensor as pt

        layout = layout_of(problem)
        main, m = layout.scales(layout.main), layout.n_columns
        r = layout.widths[layout.main]
        t = [scales[main.start + i] for i in range(r)]
        lower: list[list[Any]] = []
        across: list[Any] = []
        for i in range(r):
            row: list[Any] = []
            for j in range(i + 1):
                left = more * t[i] * t[j] * given["effects_own"][i, j] + float(i == j)
                for k in range(j):
                    left = left - row[k] * (lower[j][k] if j < i else row[k])
                row.append(pt.sqrt(left) if i == j else left / lower[j][j])
            lower.append(row)
            here = more * t[i] * given["effects_across"][i]
            for k in range(i):
                here = here - row[k][:, None] * across[k]
            across.append(here / row[i][:, None])
        rest = more * given["effects_rest"]
        for here in across:
            rest = rest - pt.dot(here[:, :-1].T, here)
        root = others = None
        if m:
            own = scales[layout.scale_of_column]
            root = pt.linalg.cholesky(own[:, None] * rest[:m, :m] * own + pt.eye(m))
            others = pt.linalg.solve_triangular(root, own[:, None] * rest[:m, m:], lower=True)
            rest = rest[m:, m:] - pt.dot(others[:, :-1].T, others)
        return cls(layout, scales, lower, across, root, others, rest[:, :-1], rest[:, -1])

    def marginal(self, given: Mapping[str, Any], more: Any) -> dict[str, Any]:
        """Return what `following_prior` and `coefficients_given_scales` take: what rows say of B at `more` of one."""
        import pytensor.tensor as pt

        curvature, pull = self.curvature / more, self.pull / more
        if "information" not in given:
            return {"curvature": curvature, "rows_pull": pull}
        if "turn" in given:
            turned = pt.dot(curvature, given["turn"]).dimshuffle(1, 0, 2)  # (A, k, k)
            information = (given["turn"] * turned).sum(axis=1)
            pull = (given["turn"] * pull[None, :, None]).sum(axis=1)
        else:
            information = pt.diagonal(curvature)
        # Of differences rounding may leave less than nothing.
        return {"information": pt.maximum(information, 1e-6 * given["information"]), "pull": pull}

    def effects(self, B: Any, u: Any) -> tuple[list[Any], Any]:
        """Return the effects and the log of their prior density and of the volume.

        Parameters
        ----------
        B : TensorVariable of shape (k,) or (k, A)
            Less its start, in its directions.
        u : TensorVariable of shape (effects,)

        Returns
        -------
        effects : list of TensorVariable of shape (J, r) or (J, r, A)
            By grouping.
        log_density : TensorVariable, (A,) or a number
        """
        import pytensor.tensor as pt

        layout, m = self.layout, self.layout.n_columns
        main, r = layout.scales(layout.main), layout.widths[layout.main]
        J = layout.sizes[layout.main]

        def column(values: Any) -> Any:
            return values if B.ndim == 1 else values[..., None]

        log_density: Any = 0.0
        found: dict[int, Any] = {}
        c = None
        if m:
            right = column(self.others[:, -1] + u[J * r :]) - pt.dot(self.others[:, :-1], B)
            standard = pt.linalg.solve_triangular(self.root.T, right, lower=False)
            own = self.scales[layout.scale_of_column]
            c = column(own) * standard
            log_density = (
                log_density - pt.log(pt.diagonal(self.root)).sum() - 0.5 * pt.square(standard).sum(axis=0)
            )
            for k, first in layout.columns.items():
                size, width = layout.sizes[k], layout.widths[k]
                part = c[first : first + size * width]
                found[k] = part.reshape((size, width) if B.ndim == 1 else (size, width, part.shape[1]))
        rest = B if c is None else pt.concatenate([c, B], axis=0)
        away = [
            column(self.across[i][:, -1] + u[i * J : (i + 1) * J]) - pt.dot(self.across[i][:, :-1], rest)
            for i in range(r)
        ]
        standard_of: list[Any] = [None] * r
        for i in reversed(range(r)):
            left = away[i]
            for k in range(i + 1, r):
                left = left - column(self.lower[k][i]) * standard_of[k]
            standard_of[i] = left / column(self.lower[i][i])
            log_density = log_density - pt.log(self.lower[i][i]).sum()
            log_density = log_density - 0.5 * pt.square(standard_of[i]).sum(axis=0)
        found[layout.main] = pt.stack(
            [self.scales[main.start + i] * standard_of[i] for i in range(r)], axis=1
        )
        return [found[k] for k in range(len(layout.sizes))], log_density


@dataclass(frozen=True, eq=False)
class GroupsAt:
    """Effects of groups, in the PyMC model in hand."""

    graph: EffectsGraph
    u: Any
    """Coordinates of the effects."""

    @classmethod
    def of(cls, problem: Problem, given: Mapping[str, Any], u: Any, more: Any, terms: list[Any]) -> GroupsAt:
        """Return them at coordinates; the log prior density of their standard deviations becomes one of the terms."""
        size = len(problem.group_priors)
        scales = GroupScales.of(problem, given, u[:size])
        terms.append(scales.log_density)
        return cls(EffectsGraph.of(problem, given, scales.signed, more), u[size:])

    def line(self, B: Any, columns: Any) -> tuple[Any, Any]:
        """Return what effects add to the line, and their log density in the coordinates."""
        import pymc as pm
        import pytensor.tensor as pt

        layout = self.graph.layout
        effects, log_density = self.graph.effects(B.T, self.u)
        flat = [part.reshape((-1, *([part.shape[2]] if part.ndim == 3 else []))) for part in effects]
        pm.Deterministic("effects", pt.concatenate(flat, axis=0).T)
        members, slopes, at = columns[: len(effects)].astype("int64"), [], len(effects)
        for width in layout.widths:
            slopes.append([columns[at + i] for i in range(width - 1)])
            at += width - 1
        return line_of(layout, effects, members, slopes), log_density


def line_of(layout: Layout, effects: list[Any], members: Any, slopes: list[list[Any]]) -> Any:
    """Return what effects add to the line, (n,) or (A, n).

    Parameters
    ----------
    layout : Layout
    effects : list of TensorVariable
        As `EffectsGraph.effects` returns them.
    members : TensorVariable of shape (K, n)
        Whole numbers.
    slopes : list of list of TensorVariable of shape (n,)
        By grouping, the features whose slopes differ.
    """
    line: Any = 0.0
    for k, values in enumerate(effects):
        for i in range(layout.widths[k]):
            own = values[:, i][members[k]]
            own = own if values.ndim == 2 else own.T
            line = line + (own if i == 0 else own * slopes[k][i - 1])
    return line


def effects_of(
    problem: Problem, draws: Draws, seed: int, unit: NDArray[np.float64] | None = None
) -> DrawnEffects | None:
    """Return the effects of draws, in the model's units; of each under the geometry that its coefficients are of.

    `unit` is that of levels of features with errors, (q,).
    """
    if problem.groupings is None:
        return None
    values, layout, place = draws.flat("effects"), layout_of(problem), 0
    chosen = picked(draws, seed)[0]
    if chosen is not None and values.ndim > 2:
        values = values[np.arange(len(values)), chosen]
    found = []
    for size, width in zip(layout.sizes, layout.widths, strict=True):
        found.append(values[:, place : place + size * width].reshape(len(values), size, width))
        place += size * width
    p = problem.rows.n_features
    found_levels = None
    if unit is not None:
        ends, scales = np.cumsum(layout.sizes)[:-1], draws.flat("level_scales")
        levels = tuple(np.split(draws.flat("levels") * unit, ends, axis=1))
        found_levels = DrawnLevels(levels, scales.reshape(len(scales), -1, len(unit)) * unit)
    scales = draws.flat("group_scales")
    return DrawnEffects(layout, tuple(found), scales, np.zeros(p), np.ones(p), 0.0, 1.0, found_levels)
