"""What a likelihood says of rows whose linear predictor is itself normal, in PyTensor: the integral over it.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np

from ...measurements.limits import Sides
from ..additive import NormalLikelihood
from ..base import Likelihood, Observations
from ..limited import ends_of, log_between_sides
from ..noise import SCALED
from .integral import Places
from .vectorised import across, exp_graph, held

__all__ = ["graph_over_line", "log_selected_graph", "log_sum_graph"]

_LOG_TWO_PI = float(np.log(2.0 * np.pi))


def graph_over_line(
    likelihood: Likelihood,
    mean: Any,
    variance: Any,
    values: Mapping[str, Any],
    data: Observations,
    places: Places | None,
    noise: tuple[Any, Any, Any] | None = None,
) -> Any:
    """Return what `log_density_over_line` does but for what depends on the data alone, (n,), in PyTensor.

    Parameters
    ----------
    likelihood : Likelihood
    mean, variance : TensorVariable of shape (n,)
    values, data
        As for `Likelihood.graph`.
    places : Places
        Arrays or tensors; None of likelihoods whose noise is a mixture of normal distributions.
    noise : tuple, default=None
        As there, broadcasting to (n,).
    """
    import pytensor.tensor as pt

    sides: Any = data.limits
    if likelihood.has_noise_scale:
        if noise is None:
            noise = 0.0, 0.0, data.noise.variance(values, data.standard_error, data.resolution)
        none = pt.zeros_like(mean)
        off, with_line, own = (across(part + none) if hasattr(part, "owner") else part for part in noise)
        residual, spread = across(data.y - mean), across(variance)
        square = pt.square(abs(residual) + abs(off))
        total = spread + 2.0 * with_line + own
        parts = likelihood.normal_parts_graph(values, square / own, square / total, 24)
        if parts is not None:
            log_weight, part = parts
            root = pt.sqrt(part)
            spread = spread + 2.0 * root * with_line + part * own
            # Roots are a third of what logs cost, of which there would be one per row and part.
            logs = log_weight - 0.5 * pt.square(residual - root * off) / spread
            if data.limits is not None:
                between = log_weight + _between(across(mean) + root * off, spread, data, sides)
                logs = pt.switch(pt.neq(sides.side, 0.0)[None], between, logs)
            return log_sum_graph(logs, pt.sqrt(spread)) - 0.5 * _LOG_TWO_PI
    if places is None:
        raise ValueError(
            f"Under {likelihood!r} PyMC has no probability of rows being selected (truncation) over features with"
            " errors: use inference='importance'."
        )
    return _by_nodes(likelihood, mean, variance, values, data, places)


def _by_nodes(
    likelihood: Likelihood,
    mean: Any,
    variance: Any,
    values: Mapping[str, Any],
    data: Observations,
    places: Places,
) -> Any:
    import pytensor.tensor as pt

    # As many nodes as the row wants that wants most: an error of 1e-5 makes no difference to draws.
    count = places.nodes.max() - 1.0
    # Less is lost in rounding, and the difference to none is nothing.
    mean, variance = across(mean), across(pt.maximum(variance, 1e-12))
    data = replace(data, y=across(data.y), trials=across(pt.as_tensor(data.trials) + pt.zeros_like(data.y)))
    # Where the nodes are makes no difference to the integral, nor to its derivatives.
    center, sd = held(mean), pt.sqrt(held(variance))
    precision = places.precision[None]
    narrow = pt.sqrt(1.0 / (1.0 + precision * pt.square(sd)))
    t = sd * precision * (places.target[None] - center) * pt.square(narrow)
    # One step of Newton's method by differences.
    step = 0.5 * narrow
    three = likelihood.graph(center + sd * (t + step * np.array([[-1.0], [0.0], [1.0]])), values, data)
    down, middle, up = (three[i : i + 1] for i in range(3))
    bend = pt.maximum(2.0 * middle - up - down, 0.0) / pt.square(step)
    width = 1.0 / pt.sqrt(1.0 + bend)
    t = t + pt.clip((0.5 * (up - down) / step - t) * pt.square(width), -3.0 * width, 3.0 * width)
    first = across((center + sd * (t - width * places.below[None]))[0])
    apart = held(across((sd * width * places.span[None] / (count - 1.0))[0]))
    eta = held(first) + apart * pt.arange(count)[:, None]
    total = log_sum_graph(likelihood.graph(eta, values, data) - 0.5 * pt.square(eta - mean) / variance)
    return total + (pt.log(apart) - 0.5 * (pt.log(variance) + _LOG_TWO_PI))[0]


def log_selected_graph(
    likelihood: Likelihood,
    components: Sequence[tuple[Any, Any]],
    log_shares: Any,
    values: Mapping[str, Any],
    data: Observations,
    limits: tuple[Any, Any],
    noise: tuple[Any, Any, Any] | None = None,
) -> Any:
    """Return the log probability that targets lie between limits, (n,), in PyTensor.

    Parameters
    ----------
    likelihood : Likelihood
        With a noise scale.
    components : sequence of (mean, variance)
        Of the linear predictor, (n,) each, in each component.
    log_shares : TensorVariable of shape (K,)
        Of the components, of which there may be one; not looked at then.
    values, data, noise
        As for `graph_over_line`; the target is not looked at.
    limits : tuple
        Lower and upper limit, of which one may be None.
    """
    import pytensor.tensor as pt

    lower, upper = ends_of(likelihood, data, limits)
    side = 2.0 if lower is not None and upper is not None else -1.0 if lower is None else 1.0
    given = Sides(side, upper - 1.0 if lower is None else lower, lower + 1.0 if upper is None else upper)
    data = replace(data, y=upper if lower is None else lower, limits=cast("Any", given))
    found = [
        graph_over_line(likelihood, mean, variance, values, data, None, noise)
        for mean, variance in components
    ]
    return found[0] if len(found) == 1 else log_sum_graph(pt.stack(found) + log_shares[:, None])


def _between(mean: Any, variance: Any, data: Observations, sides: Sides) -> Any:
    """Return the log probability between limits of normal targets, but for what densities are divided by."""
    import pytensor.tensor as pt

    sd = pt.sqrt(variance)
    of_unit = Observations(data.y, noise=SCALED)
    found = log_between_sides(NormalLikelihood(), mean, {"noise_scale": sd}, of_unit, sides)
    return found + pt.log(sd) + 0.5 * _LOG_TWO_PI


def log_sum_graph(logs: Any, divided: Any = 1.0) -> Any:
    """Return the log of the terms' sum along the first axis, each divided by a number that is not small.

    In PyTensor; the highest one must be finite.
    """
    import pytensor.tensor as pt

    highest = across(held(logs).max(axis=0))
    # With nothing added it would become an operation that looks for infinities, and another one for its derivatives.
    return highest[0] + pt.log((exp_graph(logs - highest) / divided).sum(axis=0) + 1e-300)
