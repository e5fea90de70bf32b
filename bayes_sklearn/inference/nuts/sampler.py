"""Running nutpie or another sampler: compiled models are kept, draws are judged."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from ...measurements.messages import check_installed, shown, warn
from .._compat import diagnostics, numba_in_vectors, one_blas_thread, quietly
from ..groups.drawn import DrawnEffects
from ..posterior import Posterior
from ..problem import Problem
from ..settings import SamplerSettings
from .formulation import Draws, Formulation, packed

__all__ = ["CompiledModels", "check_convergence"]


class CompiledModels:
    """A bounded cache, safe to use from several threads.

    Parameters
    ----------
    size : int
        How many models are kept; the one unused for longest goes first.
    """

    def __init__(self, size: int):
        self.size = size
        self._models: OrderedDict[Hashable, Any] = OrderedDict()
        self._lock = threading.Lock()
        self.compiling = threading.Lock()

    def __len__(self) -> int:
        return len(self._models)

    def __contains__(self, key: Hashable) -> bool:
        with self._lock:
            return key in self._models

    def get(self, key: Hashable, compile_model: Callable[[], Any]) -> Any:
        """Return the model kept under a key; compile it first where there is none.

        Threads that ask for the same model wait for one compilation; those whose model is there don't wait.
        """
        model = self._found(key)
        if model is None:
            with self.compiling:
                model = self._found(key)
                if model is None:
                    model = compile_model()
                    self._keep(key, model)
        return model

    def _found(self, key: Hashable) -> Any:
        with self._lock:
            if key in self._models:
                self._models.move_to_end(key)
            return self._models.get(key)

    def _keep(self, key: Hashable, model: Any) -> None:
        with self._lock:
            self._models[key] = model
            while len(self._models) > self.size:
                self._models.popitem(last=False)


Array = NDArray[np.float64]

# Bounds of Vehtari, Gelman, Simpson, Carpenter & Bürkner 2021, Bayesian Analysis 16:667-718 (R-hat, effective draws
# a chain), and of Betancourt 2016, arXiv:1604.00695 (energy).
_R_HAT, _EFFECTIVE, _ENERGY = 1.01, 100.0, 0.3


def check_convergence(
    problem: Problem, posterior: Posterior, settings: SamplerSettings, options: SamplerOptions
) -> None:
    """Warn of draws that are not to be trusted, and say what to change."""
    chains = posterior.chains
    if chains is None:
        return
    first = 0 if problem.fit_intercept else 1
    draws = {"coefficients": chains.split(posterior.location[:, first:])}
    if problem.has_noise_scale:
        draws["noise scale"] = chains.split(posterior.noise_scale)
    draws |= {name: chains.split(values) for name, values in posterior.further.items()}
    if posterior.true_features is not None:
        variances = np.diagonal(posterior.true_features.variance, axis1=1, axis2=2)
        draws["true features' spread"] = chains.split(np.sqrt(variances))
    effects = posterior.effects
    if isinstance(effects, DrawnEffects):
        draws["standard deviations of groups"] = chains.split(effects.scales)
        if effects.levels is not None:
            draws["groups' spread of true features"] = chains.split(effects.levels.deviations)
        draws["effects of groups"] = chains.split(effects.values[effects.layout.main])
    draws |= {name.replace("_", " "): values for name, values in chains.scales.items() if values.ndim == 2}
    found = diagnostics(draws)
    r_hat = _worst(found["r_hat"], np.nanmax)
    least = {tail: _worst(found[f"ess_{tail}"], np.nanmin) for tail in ("bulk", "tail")}
    divergent, energy = chains.n_divergent, chains.energy_information
    wrong = []
    more = f"raise draws (now {settings.draws}) or tune (nuts_kwargs={{'tune': {2 * options.tune}}})"
    if r_hat.value > _R_HAT:
        wrong.append(
            f"R-hat is {r_hat.value:.3f} for {r_hat.name}, above {_R_HAT}: the chains disagree; {more}"
        )
    for tail, effective in least.items():
        if effective.value < _EFFECTIVE * settings.chains:
            wrong.append(
                f"the {tail} effective sample size is {effective.value:.0f} for {effective.name}, below"
                f" {_EFFECTIVE * settings.chains:.0f}: raise draws (now {settings.draws})"
            )
    if divergent:
        wrong.append(
            f"{divergent} of {settings.chains * settings.draws} draws are divergent: raise target_accept"
            f" (nuts_kwargs={{'target_accept': {1.0 - 0.5 * (1.0 - options.target_accept):g}}}), or use a prior with"
            " lighter tails"
        )
    if energy < _ENERGY:
        wrong.append(
            f"the energy's fraction of missing information is {energy:.2f}, below {_ENERGY}: heavy tails are"
            f" explored too slowly; {more}, or use a prior with lighter tails"
        )
    if wrong:
        warn(f"The draws of NUTS are not to be trusted: {'; '.join(wrong)}.", ConvergenceWarning)


class _Named(NamedTuple):
    name: str
    value: float


def _worst(values: Mapping[str, Array], pick: Any) -> _Named:
    """Return the worst value of all, and whose it is."""
    picked = [_Named(name, float(pick(array))) for name, array in values.items() if not np.isnan(array).all()]
    if not picked:  # too few draws to tell
        return _Named("all", np.inf if pick is np.nanmax else 0.0)
    return _Named(*(max if pick is np.nanmax else min)(picked, key=lambda named: named.value))


COMPILED = CompiledModels(size=32)
"""The compiled models of this process."""

_COMPILING = "Compiling the model for NUTS: 10 to 30 s."


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
        elsewhere = {
            "draws": "the estimator's draws",
            "chains": "the estimator's chains",
            "seed": "the estimator's random_state",
            "random_seed": "the estimator's random_state",
            "progressbar": "the estimator's verbose",
            "progress_bar": "the estimator's verbose",
        }
        for name, place in elsewhere.items():
            if name in given:
                raise ValueError(f"nuts_kwargs has {name!r}: give it as {place} instead.")
        sampler = given.pop("nuts_sampler", "nutpie")
        samplers = ("nutpie", "pymc", "numpyro", "blackjax")
        if not (isinstance(sampler, str) and sampler in samplers):
            raise ValueError(
                f"nuts_kwargs: nuts_sampler must be one of {', '.join(samplers)}, got {sampler!r}."
            )
        other = "pymc" if sampler == "nutpie" else "nutpie"
        check_installed(f"nuts_kwargs: nuts_sampler={sampler!r} (else use {other!r})", sampler)
        default_tune = 500
        tune, accept = given.pop("tune", default_tune), given.pop("target_accept", target_accept)
        cores = given.pop("cores", None)
        if not _is_whole(tune, 1):
            raise ValueError(
                f"nuts_kwargs: tune must be a whole number from 1 and below 2**31, got {shown(tune)}."
            )
        if not (isinstance(accept, Real) and 0.0 < accept < 1.0):  # type: ignore[operator]
            raise ValueError(f"nuts_kwargs: target_accept must lie between 0 and 1, got {accept!r}.")
        if not (cores is None or _is_whole(cores, 1)):
            raise ValueError(
                f"nuts_kwargs: cores must be a whole number from 1 and below 2**31, or None, got {shown(cores)}."
            )
        if cores is None:
            cores = min(settings.chains, _free_cores())
        return cls(sampler, int(tune), float(accept), int(cores), given)


def _is_whole(value: object, least: int) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and least <= int(value) < 2**31


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


def sample(formulation: Formulation, settings: SamplerSettings, options: SamplerOptions) -> Draws:
    """Run the sampler; return its draws.

    Raises
    ------
    ValueError
        Where the sampler doesn't take its options, or the density is not finite where it starts.
    """
    run = _nutpie if options.sampler == "nutpie" else _pymc
    trace = run(formulation, settings, options)
    values = {str(name): np.asarray(trace.posterior[name]) for name in trace.posterior.data_vars}
    found = trace.sample_stats
    # ArviZ's name of a statistic, and what samplers call it.
    names_of = {
        "diverging": ("diverging",),
        "energy": ("energy",),
        "lp": ("lp", "logp"),
        "tree_depth": ("tree_depth", "depth"),
        "n_steps": ("n_steps",),
        "step_size": ("step_size",),
        "acceptance_rate": ("acceptance_rate", "mean_tree_accept"),
    }
    statistics = {
        name: np.asarray(found[key])
        for name, keys in names_of.items()
        for key in keys
        if key in found.data_vars
    }
    return Draws(values, statistics)


def _nutpie(formulation: Formulation, settings: SamplerSettings, options: SamplerOptions) -> Any:
    """Sample by nutpie, with a model compiled for the structure alone."""
    with quietly():
        import nutpie

    def compile_model() -> Any:
        built = formulation.model()
        with quietly(), numba_in_vectors():
            return nutpie.compile_pymc_model(built)

    if settings.verbose and formulation.structure not in COMPILED:
        print(_COMPILING, flush=True)
    compiled = COMPILED.get(formulation.structure, compile_model).with_data(**packed(formulation.arrays))
    # Seconds between looks whether the sampler is done: it can be interrupted in between.
    poll = 0.002
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
        except (TypeError, ValueError, AttributeError, KeyError, OverflowError) as error:
            raise ValueError(f"nuts_kwargs: nutpie does not take {dict(options.others)!r}: {error}") from None
        try:
            while not _is_finished(sampler):
                time.sleep(poll)
            with quietly():
                return sampler.wait()
        except BaseException as error:
            # Of Rust's panics, which leave nothing to cancel, no more is known than their name.
            panic = type(error).__name__ == "PanicException"
            if not panic:
                sampler.cancel()
            if not panic and not isinstance(error, RuntimeError):
                raise
            raise ValueError(
                f"NUTS could not run ({str(error).splitlines()[0]}): the density is not finite where it starts. Are"
                " errors or priors in another unit than the data, many orders of magnitude away?"
            ) from None


def _is_finished(sampler: Any) -> bool:
    try:
        return bool(sampler.is_finished)
    except TimeoutError:  # too busy to say
        return False


def _pymc(formulation: Formulation, settings: SamplerSettings, options: SamplerOptions) -> Any:
    """Sample by a sampler that PyMC runs; it compiles the model each time."""
    with COMPILED.compiling, quietly():  # PyTensor compiles in one thread at a time
        import pymc as pm

        if settings.verbose:
            print(_COMPILING, flush=True)
        with formulation.model():
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
