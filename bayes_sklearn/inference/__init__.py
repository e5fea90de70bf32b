"""The engine room: from a Problem to a Posterior."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from sklearn.exceptions import ConvergenceWarning

from ..measurements.messages import warn
from .exact import engine as exact
from .hmc import engine as hmc
from .importance import engine as importance
from .nuts import engine as nuts
from .posterior import Posterior
from .problem import Problem
from .settings import NotTrusted, SamplerSettings

__all__ = ["ENGINES", "choose", "solve", "solve_in_turn"]


class Engine(Protocol):
    """A way from Problem to Posterior."""

    NAME: str

    def why_not(self, problem: Problem) -> str | None:
        """Return why this engine can't take the problem, in a clause, or None."""

    def solve(self, problem: Problem, settings: SamplerSettings) -> Posterior:
        """Return the posterior in the model's units; raise `NotTrusted` where it fails the engine's checks."""


ENGINES: dict[str, Engine] = {engine.NAME: engine for engine in (exact, importance, hmc, nuts)}
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
    reasons: list[str] = []
    for name in names:
        reason = ENGINES[name].why_not(problem)
        if reason is None:
            return name
        reasons.append(
            f"nor {name}: {reason}" if reasons else f"the {name} engine can't take this model: {reason}"
        )
    raise ValueError(f"inference={inference!r}: {'; '.join(reasons)}.")


def solve(problem: Problem, engine: str, settings: SamplerSettings) -> Posterior:
    """Return the posterior on the data's own scale, by the engine of this name."""
    try:
        posterior = ENGINES[engine].solve(problem, settings)
    except NotTrusted as doubt:
        posterior = _for_want_of_a_better(doubt, problem)
    return problem.scaling.to_data(posterior, problem.noise_unit)


def _for_want_of_a_better(doubt: NotTrusted, problem: Problem) -> Posterior:
    """Return the posterior that its engine doesn't trust, with a warning."""
    sampled = "inference='nuts', or " if ENGINES["nuts"].why_not(problem) is None else ""
    warn(f"{doubt} Use {sampled}{doubt.remedy}.", ConvergenceWarning)
    return doubt.posterior


class Solved(NamedTuple):
    """A posterior, and who found it."""

    posterior: Posterior
    """On the data's own scale."""
    engine: str


def solve_in_turn(problem: Problem, inference: str, settings: SamplerSettings) -> Solved:
    """Return the posterior; under "auto" one that its engine doesn't trust is left to the next engine.

    Warns
    -----
    UserWarning
        Where an engine hands over, with the figures that made it.
    """
    engine = choose(problem, inference)
    if inference != "auto":
        return Solved(solve(problem, engine, settings), engine)
    try:
        posterior = ENGINES[engine].solve(problem, settings)
    except NotTrusted as doubt:
        rest = list(ENGINES)[list(ENGINES).index(engine) + 1 :]
        other = next((name for name in rest if ENGINES[name].why_not(problem) is None), None)
        if other is not None:
            warn(
                f"{doubt} inference='auto' goes on with {other!r}; inference={other!r} does so without trying.",
            )
            return Solved(solve(problem, other, settings), other)
        posterior = _for_want_of_a_better(doubt, problem)
    return Solved(problem.scaling.to_data(posterior, problem.noise_unit), engine)
