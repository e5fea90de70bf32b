"""What is learned of groups, as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...inference.groups.effects import ScaledEffects
from ...inference.posterior import Posterior, row_blocks
from ...measurements.columns import Columns
from ...measurements.groups.labels import Groupings
from ...prediction.groups.line import effects_at
from ...prediction.mixtures import normal as mixtures

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["effects_table"]

Array = NDArray[np.float64]


def effects_table(
    posterior: Posterior, groupings: Groupings, columns: Columns, coverage: float
) -> pd.DataFrame:
    """Return means, standard deviations and equal-tailed limits of the groups' effects, a row each."""
    import pandas as pd

    effects = posterior.effects
    if effects is None:
        raise AssertionError  # for the type checker
    parts, keys = [], []
    for place, (k, term, _) in enumerate(groupings.terms(columns.feature_names.tolist())):
        own = place - effects.layout.scales(k).start
        parts.append(_moments_and_limits(posterior, effects, k, own, coverage))
        keys += [(groupings.names[k], group, term) for group in groupings.labels[k].tolist()]
    percent = f"{100.0 * coverage:g}%"
    names = ["mean", "sd", f"lower_{percent}", f"upper_{percent}"]
    one = len(groupings.columns) == 1
    if one and not groupings.slopes[0]:
        index: Any = pd.Index([group for _, group, _ in keys], name=groupings.names[0])
    elif one:
        index = pd.MultiIndex.from_tuples([key[1:] for key in keys], names=[groupings.names[0], "term"])
    else:
        index = pd.MultiIndex.from_tuples(keys, names=["grouping", "group", "term"])
    return pd.DataFrame(np.concatenate(parts), index=index, columns=names)


def _moments_and_limits(
    posterior: Posterior, effects: ScaledEffects, grouping: int, term: int, coverage: float
) -> Array:
    """Return mean, standard deviation and limits of one effect of every group, (J, 4)."""
    count = effects.layout.sizes[grouping]
    found = np.empty((count, 4))
    tails = 0.5 + np.array([-0.5, 0.5]) * coverage
    for rows in row_blocks(count, 8 * len(posterior.weights) + 8 * posterior.location.shape[1]):
        size = rows.stop - rows.start
        means, variances = effects_at(posterior, grouping, term, np.arange(rows.start, rows.stop))
        deviations = np.sqrt(variances)
        mean = means @ posterior.weights
        spread = (np.square(deviations) + np.square(means - mean[:, None])) @ posterior.weights
        limits = [
            mixtures.quantile(np.full(size, tail), posterior.weights, means, deviations) for tail in tails
        ]
        found[rows] = np.column_stack([mean, np.sqrt(spread), *limits])
    return found
