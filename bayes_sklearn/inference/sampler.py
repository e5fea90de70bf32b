"""Running a sampler: nutpie, with a model compiled once for all data of one structure, or one that PyMC runs."""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ._compat import one_blas_thread, quietly
from .compiled import CompiledModels
from .posterior import Chains
from .problem import SamplerSettings
from .pymc_model import packed

if TYPE_CHECKING:
    import pymc as pm

Array = NDArray[np.float64]

COMPILED = CompiledModels(size=32)
"""The compiled models of this process."""

_TUNE = 500
# Seconds between looks whether the sampler is done: it can be interrupted in between.
_POLL = 0.002
_SAMPLERS = ("nutpie", "pymc", "numpyro", "blackjax")
_ELSEWHERE = {
    "draws": "the estimator's draws",
    "chains": "the estimator's chains",
    "seed": "the estimator's random_state",
    "random_seed": "the estimator's random_state",
    "progressbar": "the estimator's verbose",
    "progress_bar": "the estimator's verbose",
}
_STATISTICS = {
    "diverging": ("diverging",),
    "energy": ("energy",),
    "lp": ("lp", "logp"),
    "tree_depth": ("tree_depth", "depth"),
    "n_steps": ("n_steps",),
    "step_size": ("step_size",),
    "acceptance_rate": ("acceptance_rate", "mean_tree_accept"),
}
"""ArviZ's name of a statistic, and what samplers call it."""


@dataclass(frozen=True, eq=False)
class Draws:
    """What a sampler returns."""

    values: dict[str, Array]
    """(chain, draw, ...) by the names in the model."""
    statistics: dict[str, Array]
    """(chain, draw)"""

    @property
    def chains(self) -> Chains:
        """How the draws came about."""
        return Chains(len(self.values["u"]), self.statistics, {})

    def flat(self, name: str) -> Array:
        """Return a variable's draws, chain after chain, (G, ...)."""
        values = self.values[name]
        return values.reshape(-1, *values.shape[2:])


@dataclass(frozen=True)
class SamplerOptions:
    """`nuts_kwargs`, checked."""

    sampler: str
    tune: int
    target_accept: float
    cores: int
    others: Mapping[str, Any]

    @classmethod
    def of(cls, settings: SamplerSettings, target_accept: float) -> SamplerOptions:
        given = dict(settings.nuts_kwargs or {})
        for name, place in _ELSEWHERE.items():
            if name in given:
                raise ValueError(f"nuts_kwargs has {name!r}: give it as {place} instead.")
        sampler = given.pop("nuts_sampler", "nutpie")
        if sampler not in _SAMPLERS:
            raise ValueError(
                f"nuts_kwargs: nuts_sampler must be one of {', '.join(_SAMPLERS)}, got {sampler!r}."
            )
        if importlib.util.find_spec(sampler) is None:
            raise ValueError(
                f"nuts_kwargs: nuts_sampler={sampler!r} is not installed. Install it, or use 'nutpie'."
            )
        tune, accept = given.pop("tune", _TUNE), given.pop("target_accept", target_accept)
        cores = given.pop("cores", None)
        if not _is_whole(tune, 1):
            raise ValueError(f"nuts_kwargs: tune must be a whole number from 1, got {tune!r}.")
        if not (isinstance(accept, Real) and 0.0 < accept < 1.0):  # type: ignore[operator]
            raise ValueError(f"nuts_kwargs: target_accept must lie between 0 and 1, got {accept!r}.")
        if not (cores is None or _is_whole(cores, 1)):
            raise ValueError(f"nuts_kwargs: cores must be a whole number from 1, or None, got {cores!r}.")
        if cores is None:
            cores = min(settings.chains, _free_cores())
        return cls(sampler, int(tune), float(accept), int(cores), given)


def _is_whole(value: object, least: int) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least


def _free_cores() -> int:
    """Return how many cores are this fit's: one in a worker thread or process, whose siblings have the others."""
    worker = (
        multiprocessing.parent_process() is not None
        or threading.current_thread() is not threading.main_thread()
    )
    return (
        1
        if worker
        else len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count() or 1
    )


@dataclass(frozen=True, eq=False)
class SamplerModel:
    """What a sampler takes."""

    structure: Hashable
    """Two of the same share one compiled model."""
    arrays: Mapping[str, Array | float]
    """All that varies from data to data."""
    build: Callable[[], pm.Model]
    """Returns the model, on a first set of them."""


def sample(model: SamplerModel, settings: SamplerSettings, options: SamplerOptions) -> Draws:
    """Run the sampler; return its draws.

    Raises
    ------
    ValueError
        Where the sampler doesn't take its options, or the density is not finite where it starts.
    """
    run = _nutpie if options.sampler == "nutpie" else _pymc
    trace = run(model, settings, options)
    values = {str(name): np.asarray(trace.posterior[name]) for name in trace.posterior.data_vars}
    found = trace.sample_stats
    statistics = {
        name: np.asarray(found[key])
        for name, keys in _STATISTICS.items()
        for key in keys
        if key in found.data_vars
    }
    return Draws(values, statistics)


def _nutpie(model: SamplerModel, settings: SamplerSettings, options: SamplerOptions) -> Any:
    """Sample by nutpie, with a model compiled for the structure alone."""
    with quietly():
        import nutpie

    def compile_model() -> Any:
        built = model.build()
        with quietly():
            return nutpie.compile_pymc_model(built)

    compiled = COMPILED.get(model.structure, compile_model).with_data(**packed(model.arrays))
    # Matrices are small: threads of the linear algebra library would only wait for each other.
    with one_blas_thread():
        try:
            sampler = nutpie.sample(
                compiled,
                draws=settings.draws,
                tune=options.tune,
                chains=settings.chains,
                cores=options.cores,
                seed=settings.seed,
                target_accept=options.target_accept,
                progress_bar=settings.verbose,
                save_warmup=False,
                blocking=False,
                **options.others,
            )
        except (TypeError, ValueError, AttributeError, KeyError) as error:
            raise ValueError(f"nuts_kwargs: nutpie does not take {dict(options.others)!r}: {error}") from None
        try:
            while not _is_finished(sampler):
                time.sleep(_POLL)
            with quietly():
                return sampler.wait()
        except RuntimeError as error:
            sampler.cancel()
            raise ValueError(
                f"NUTS could not run ({str(error).splitlines()[0]}): the density is not finite where it starts. Are"
                " errors or priors in another unit than the data, many orders of magnitude away?"
            ) from None
        except BaseException:
            sampler.cancel()
            raise


def _is_finished(sampler: Any) -> bool:
    try:
        return bool(sampler.is_finished)
    except TimeoutError:  # too busy to say
        return False


def _pymc(model: SamplerModel, settings: SamplerSettings, options: SamplerOptions) -> Any:
    """Sample by a sampler that PyMC runs; it compiles the model each time."""
    with quietly():
        import pymc as pm

        with model.build():
            try:
                return pm.sample(
                    draws=settings.draws,
                    tune=options.tune,
                    chains=settings.chains,
                    cores=options.cores,
                    random_seed=settings.seed,
                    nuts_sampler=options.sampler,
                    target_accept=options.target_accept,
                    progressbar=settings.verbose,
                    compute_convergence_checks=False,
                    **options.others,
                )
            except (TypeError, ValueError) as error:
                if options.others:
                    raise ValueError(
                        f"nuts_kwargs: {options.sampler} does not take {dict(options.others)!r}: {error}"
                    ) from None
                if options.sampler == "pymc":
                    raise
                raise ValueError(
                    f"nuts_kwargs: PyMC and nuts_sampler={options.sampler!r}, as they are installed, don't go"
                    f" together: {error} Use 'nutpie', or other versions."
                ) from error
