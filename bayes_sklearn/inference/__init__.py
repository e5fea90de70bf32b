"""The engine room: from a Problem to a Posterior."""

from __future__ import annotations

from . import exact
from .compressed import Rows
from .posterior import Posterior
from .problem import Engine, Noise, Problem
from .reweighting import reweight

__all__ = ["ENGINES", "Engine", "Noise", "Posterior", "Problem", "Rows", "reweight", "solve"]

ENGINES: dict[str, Engine] = {engine.NAME: engine for engine in (exact,)}
"""Every engine, the cheapest first: "auto" takes the first that can."""


def solve(problem: Problem, inference: str = "auto") -> tuple[Posterior, str]:
    """Return the posterior on the data's own scale, and the name of the engine that found it.

    Parameters
    ----------
    problem : Problem
    inference : str, default="auto"
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
            posterior = ENGINES[name].solve(problem)
            return problem.scaling.to_data(posterior, problem.noise_unit), name
        reasons.append(f"the {name} engine can't take this model: {reason}")
    raise ValueError(f"inference={inference!r}: {'; '.join(reasons)}.")
