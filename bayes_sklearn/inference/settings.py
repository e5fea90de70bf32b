"""What engines are told, how they refuse their own solution, and noise that some can't take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..likelihoods.base import Likelihood
from .posterior import Posterior
from .problem import Problem

__all__ = ["NotTrusted", "SamplerSettings", "without_noise"]


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
    roughly: bool = False
    """Whether to know where the posterior is will do: integrals may take coarser lattices, rows like errors."""


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


def without_noise(problem: Problem, method: str = "normal_parts") -> str | None:
    """Return why errors of features can't go with the target's, or None; `method` says what parts the noise has."""
    errors, likelihood = problem.feature_errors, problem.likelihood
    if errors is None or errors.with_target is None:
        return None
    if not likelihood.has_noise_scale:
        return f"Xy_cov goes with noise that is added to the line, and {likelihood!r} has none"
    if getattr(type(likelihood), method) is getattr(Likelihood, method):
        return f"Xy_cov goes with noise that is a mixture of normal distributions, and {likelihood!r} has no {method}"
    return None
