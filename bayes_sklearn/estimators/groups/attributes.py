"""What a fit with groups hands out beside all else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sklearn.utils.validation import check_is_fitted

from ..fitted import FittedModel

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["GroupsMixin"]


class GroupsMixin:
    """Attributes of an estimator that keeps a `FittedModel`; absent where the rows had no groups."""

    _fitted: FittedModel

    @property
    def group_std_(self) -> pd.Series:
        """Posterior means of the standard deviations of the groups' effects."""
        check_is_fitted(self)
        return self._fitted.group_std()

    @property
    def group_effects_(self) -> pd.DataFrame:
        """What rows of each group have beside the line, at the features' means: means, sds and 95% intervals."""
        check_is_fitted(self)
        return self._fitted.group_effects()
