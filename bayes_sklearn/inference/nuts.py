"""The NUTS engine: any prior that PyMC has, on the compressed rows, one compiled model for all data.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import threading
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from ..priors import ScaleMixture
from . import exact, pymc_features, pymc_latent, pymc_likelihoods, pymc_mixture
from ._compat import diagnostics, one_blas_thread, quietly
from .compiled import CompiledModels
from .coordinates import CompressedData, compressed_data
from .feature_coordinates import measured_data
from .latent_coordinates import latent_data
from .likelihood_coordinates import likelihood_data
from .mixture_coordinates import mixture_data
from .posterior import Chains, Posterior, SharedBasis
from .problem import Problem, SamplerSettings
from .pymc_model import missing_distribution, packed, sampler_model, structure

if TYPE_CHECKING:
    import pymc as pm

Array = NDArray[np.float64]

NAME = "nuts"

COMPILED = CompiledModels(size=32)
"""The compiled models of this process."""

_TUNE, _TARGET_ACCEPT = 500, 0.9
# With errors of features: where the true features' spread may be small, the posterior is bent.
_TARGET_ACCEPT_BENT = 0.95
# Seconds between looks whether the sampler is done: it can be interrupted in between.
_POLL = 0.002
# Draws that are in hand at once where coefficients are drawn given their scales.
_BLOCK_NUMBERS = 2**20
# Bounds of Vehtari, Gelman, Simpson, Carpenter & Bürkner 2021, Bayesian Analysis 16:667-718 (R-hat, effective draws
# a chain), and of Betancourt 2016, arXiv:1604.00695 (energy).
_R_HAT, _EFFECTIVE, _ENERGY = 1.01, 100.0, 0.3
# Times that the range of the scatter is widened where draws leave it.
_WIDENINGS = 3
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


def why_not(problem: Problem) -> str | None:
    """Return why this engine can't take the problem, or None."""
    if not problem.likelihood.closed_form and problem.feature_errors is not None:
        if problem.n_components > 1:
            return f"x_distribution='mixture' takes the normal likelihood, not {problem.likelihood!r}"
        if problem.feature_errors.with_target is not None:
            return f"Xy_cov takes the normal likelihood, not {problem.likelihood!r}"
    if problem.feature_errors is not None and isinstance(problem.coef_prior, ScaleMixture):
        return (
            f"beside errors in X it doesn't take the scales of coef_prior={problem.coef_prior!r}: use Laplace(),"
            " StudentT() or Normal(), or sample the model that to_pymc returns"
        )
    missing = missing_distribution(problem)
    return None if missing is None else f"PyMC has no distribution for {missing}"


def solve(problem: Problem, settings: SamplerSettings) -> Posterior:
    """Return the posterior in the model's units: a node for each draw, (15).

    Raises
    ------
    ValueError
        Where the posterior is improper, or the sampler doesn't take the settings.

    Warns
    -----
    ConvergenceWarning
        Where the draws are not to be trusted: what is wrong, and what to change.
    """
    accept = _TARGET_ACCEPT if problem.feature_errors is None else _TARGET_ACCEPT_BENT
    options = _Options.of(settings, accept)
    if not problem.likelihood.closed_form:
        posterior = _of_another_likelihood(problem, settings, options)
    elif problem.feature_errors is None:
        posterior = _of_exact_features(problem, settings, options)
    else:
        data = (measured_data if problem.n_components == 1 else mixture_data)(problem, settings.seed)
        draws = _sample(problem, data.arrays, settings, options)
        u = draws.values["u"]
        chains = Chains(settings.chains, draws.statistics, {})
        posterior = data.posterior(problem, u.reshape(-1, u.shape[2]), chains)
    _check_convergence(problem, posterior, settings, options)
    return posterior


def _of_exact_features(problem: Problem, settings: SamplerSettings, options: _Options) -> Posterior:
    pilot = problem.gaussian_like()
    start = exact.solve(pilot, settings, approximate=True)
    groups = pilot.groups if problem.noise == "additive" else None
    for widening in range(_WIDENINGS):
        data = compressed_data(problem, start, groups, widening)
        draws = _sample(problem, data.arrays, settings, options)
        if data.holds(draws.values.get("s")):
            break
    return _posterior(problem, data, draws, settings)


def _of_another_likelihood(problem: Problem, settings: SamplerSettings, options: _Options) -> Posterior:
    if problem.feature_errors is not None:
        data = latent_data(problem, settings.seed)
        draws = _sample(problem, data.arrays, settings, options)
        return data.posterior(problem, draws.values, Chains(settings.chains, draws.statistics, {}))
    draws = _sample(problem, likelihood_data(problem), settings, options)
    p, size = problem.rows.n_features, settings.chains * settings.draws
    location = np.zeros((size, p + 1))
    location[:, int(not problem.fit_intercept) :] = draws.values["B"].reshape(size, -1)
    auxiliary = {
        parameter.name: draws.values[parameter.name].reshape(size) for parameter in problem.auxiliary
    }
    scales = {name: values for name, values in draws.values.items() if name not in ("u", "B", *auxiliary)}
    return Posterior(
        weights=np.full(size, 1.0 / size),
        location=location,
        covariances=SharedBasis(np.zeros((p + 1, 0)), np.zeros((size, 0))),
        noise_scale=auxiliary.pop("noise_scale", np.ones(size)),
        center=np.zeros(p),
        chains=Chains(settings.chains, draws.statistics, scales),
        auxiliary=auxiliary,
    )


@dataclass(frozen=True, eq=False)
class _Draws:
    """What a sampler returns."""

    values: dict[str, Array]
    """(chain, draw, ...) by the names in `sampler_model`."""
    statistics: dict[str, Array]
    """(chain, draw)"""


@dataclass(frozen=True)
class _Options:
    """`nuts_kwargs`, checked."""

    sampler: str
    tune: int
    target_accept: float
    cores: int
    others: Mapping[str, Any]

    @classmethod
    def of(cls, settings: SamplerSettings, target_accept: float) -> _Options:
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
        if not (isinstance(accept, Real) and 0.0 < float(accept) < 1.0):
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


def _sample(
    problem: Problem, arrays: Mapping[str, Array | float], settings: SamplerSettings, options: _Options
) -> _Draws:
    """Run the sampler; return its draws."""
    run = _nutpie if options.sampler == "nutpie" else _pymc
    trace = run(problem, arrays, settings, options)
    values = {str(name): np.asarray(trace.posterior[name]) for name in trace.posterior.data_vars}
    found = trace.sample_stats
    statistics = {
        name: np.asarray(found[key])
        for name, keys in _STATISTICS.items()
        for key in keys
        if key in found.data_vars
    }
    return _Draws(values, statistics)


def _model(problem: Problem, arrays: Mapping[str, Array | float]) -> pm.Model:
    if not problem.likelihood.closed_form:
        of_likelihood = pymc_likelihoods if problem.feature_errors is None else pymc_latent
        return of_likelihood.sampler_model(problem, arrays)
    if problem.feature_errors is None:
        return sampler_model(problem, arrays)
    of_features = pymc_features if problem.n_components == 1 else pymc_mixture
    return of_features.sampler_model(problem, arrays)


def _nutpie(
    problem: Problem, arrays: Mapping[str, Array | float], settings: SamplerSettings, options: _Options
) -> Any:
    """Sample by nutpie, with a model compiled for the structure alone."""
    with quietly():
        import nutpie

    def compile_model() -> Any:
        model = _model(problem, arrays)
        with quietly():
            return nutpie.compile_pymc_model(model)

    compiled = COMPILED.get(structure(problem), compile_model).with_data(**packed(arrays))
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


def _pymc(
    problem: Problem, arrays: Mapping[str, Array | float], settings: SamplerSettings, options: _Options
) -> Any:
    """Sample by a sampler that PyMC runs; it compiles the model each time."""
    with quietly():
        import pymc as pm

        with _model(problem, arrays):
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


def _posterior(problem: Problem, data: CompressedData, draws: _Draws, settings: SamplerSettings) -> Posterior:
    """Return the draws as nodes of equal weight; coefficients under a mixture are drawn given their scales."""
    p, chains = problem.rows.n_features, settings.chains
    flat = {name: values.reshape(-1, *values.shape[2:]) for name, values in draws.values.items()}
    size = chains * settings.draws
    scale = flat.get("s", np.ones(size))
    location = np.zeros((size, p + 1))
    if "B" in flat:
        first = 0 if problem.fit_intercept else 1
        location[:, first : first + flat["B"].shape[1]] = flat["B"]
    scales: dict[str, Array] = {}
    if isinstance(problem.coef_prior, ScaleMixture):
        rng = np.random.default_rng(settings.seed)
        block = max(1, _BLOCK_NUMBERS // (p + 2) ** 2)
        for start in range(0, size, block):
            here = slice(start, start + block)
            rows = data.rows(scale[here])
            target = rows[:, :, -1]
            if problem.fit_intercept:
                target = target - rows[:, :, 0] * flat["u"][here, :1]
            location[here, 1:] = _given_scales(rows[:, :, -1 - p : -1], target, flat["sd"][here], rng)
        scales = {name: draws.values[name] for name in draws.values if name not in ("u", "B", "s", "sd")}
    return Posterior(
        weights=np.full(size, 1.0 / size),
        location=location,
        covariances=SharedBasis(np.zeros((p + 1, 0)), np.zeros((size, 0))),
        noise_scale=scale,
        center=np.zeros(p),
        chains=Chains(chains, draws.statistics, scales),
    )


def _given_scales(design: Array, target: Array, sd: Array, rng: np.random.Generator) -> Array:
    """Draw coefficients given noise of unit variance and their own standard deviations, (19).

    Parameters
    ----------
    design : ndarray of shape (G, K, p)
    target : ndarray of shape (G, K)
    sd : ndarray of shape (G, p)
    """
    scaled = design * sd[:, None, :]
    prior = rng.standard_normal(sd.shape)
    noise = rng.standard_normal(target.shape)
    covariance = scaled @ scaled.transpose(0, 2, 1)
    covariance += np.eye(target.shape[1])
    misfit = target - np.einsum("gkp,gp->gk", scaled, prior) - noise
    solved = np.linalg.solve(covariance, misfit[:, :, None])[:, :, 0]
    return sd * (prior + np.einsum("gkp,gk->gp", scaled, solved))


def _check_convergence(
    problem: Problem, posterior: Posterior, settings: SamplerSettings, options: _Options
) -> None:
    """Warn of draws that are not to be trusted, and say what to change."""
    chains = posterior.chains
    if chains is None:
        return
    first = 0 if problem.fit_intercept else 1
    draws = {"coefficients": chains.split(posterior.location[:, first:])}
    if problem.has_noise_scale:
        draws["noise scale"] = chains.split(posterior.noise_scale)
    draws |= {name: chains.split(values) for name, values in posterior.auxiliary.items()}
    if posterior.true_features is not None:
        variances = np.diagonal(posterior.true_features.variance, axis1=1, axis2=2)
        draws["true features' spread"] = chains.split(np.sqrt(variances))
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
        warnings.warn(
            f"The draws of NUTS are not to be trusted: {'; '.join(wrong)}.", ConvergenceWarning, stacklevel=2
        )


class _Named(NamedTuple):
    name: str
    value: float


def _worst(values: Mapping[str, Array], pick: Any) -> _Named:
    """Return the worst value of all, and whose it is."""
    picked = [_Named(name, float(pick(array))) for name, array in values.items() if not np.isnan(array).all()]
    if not picked:  # too few draws to tell
        return _Named("all", np.inf if pick is np.nanmax else 0.0)
    return _Named(*(max if pick is np.nanmax else min)(picked, key=lambda named: named.value))
