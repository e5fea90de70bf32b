"""The engine room: from a Problem to a Posterior."""

from __future__ import annotations

from . import exact, importance, nuts
from .compressed import Rows
from .posterior import Posterior
from .problem import Engine, Noise, Problem, SamplerSettings
from .reweighting import reweight, reweight_again

__all__ = [
    "ENGINES",
    "Engine",
    "Noise",
    "Posterior",
    "Problem",
    "Rows",
    "SamplerSettings",
    "choose",
    "reweight",
    "reweight_again",
    "solve",
]

ENGINES: dict[str, Engine] = {engine.NAME: engine for engine in (exact, importance, nuts)}
"""Every engine, the cheapest first: "auto" takes the first that can."""


def choose(problem: Problem, inference: str) -> str:
    """Return the name of the engine that takes a problem.

    Parameters
    ----------
    problem : Problem
    inference : str
        An engine's name, or "auto".

    Raises
    ------
    ValueError
        Where the engine asked for, or under "auto" every engine, can't take the problem; with the reason.
    """
    names = list(ENGINES) if inference == "auto" else [inference]
    reasons = []
    for name in names:
        reason = ENGINES[name].why_not(problem)
        if reason is None:
            return name
        reasons.append(f"the {name} engine can't take this model: {reason}")
    raise ValueError(f"inference={inference!r}: {'; '.join(reasons)}.")


def solve(problem: Problem, engine: str, settings: SamplerSettings) -> Posterior:
    """Return the posterior on the data's own scale, by the engine of this name."""
    return problem.scaling.to_data(ENGINES[engine].solve(problem, settings), problem.noise_unit)
