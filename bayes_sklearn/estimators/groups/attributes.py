"""What a fit with groups hands out beside all else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..fitted import FittedModel

__all__ = ["GroupsMixin"]


class _Table:
    """A fitted attribute that is made when it is asked for, absent where the rows had no groups."""

    def __init__(self, made: Callable[[FittedModel], Any]):
        self._made = made

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: object | None, owner: type) -> Any:
        if instance is None:
            return self
        fitted = vars(instance).get("_fitted")
        if fitted is None:
            raise AttributeError(
                f"This {owner.__name__} is not fitted yet: call 'fit' before asking for {self._name}."
            )
        return self._made(fitted)


class GroupsMixin:
    """Attributes of an estimator that keeps a `FittedModel`."""

    group_std_ = _Table(FittedModel.group_std)
    group_effects_ = _Table(FittedModel.group_effects)
