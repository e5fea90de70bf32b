"""What engines are told, and how they refuse their own solution."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .posterior import Posterior

__all__ = ["NotTrusted", "SamplerSettings"]


@dataclass(frozen=True)
class SamplerSettings:
    """What engines that sample are told, and those that draw nodes."""

    draws: int = 1000
    """Of each chain, those of tuning not counted."""
    chains: int = 4
    nuts_kwargs: Mapping[str, Any] | None = None
    seed: int = 0
    verbose: bool = False
    nodes: int | None = None
    """Of importance sampling without errors of features; None: as many as it takes."""


class NotTrusted(Exception):  # noqa: N818 - no error yet: it is for the caller to go on, or to warn
    """An engine's own checks refuse its solution.

    Parameters
    ----------
    reason : str
        A sentence that names the figures.
    posterior : Posterior
        The solution, in the model's units.
    remedy : str, default="a narrower coef_prior"
        What to use instead.
    """

    def __init__(self, reason: str, posterior: Posterior, remedy: str = "a narrower coef_prior"):
        super().__init__(reason)
        self.posterior = posterior
        self.remedy = remedy
