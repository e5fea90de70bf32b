"""What differs between PyMC 5 with ArviZ 0.x and PyMC 6 with ArviZ 1.x, and what either says unasked.

Nothing here is imported before it is needed: PyMC takes seconds to load.
"""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp
from threadpoolctl import threadpool_limits

from ..measurements.messages import check_installed, is_installed
from .numerics.convergence import convergence
from .numerics.importance_sampling import pareto_smoothed

Array = NDArray[np.float64]

# Levels of loggers and filters of warnings belong to the process: the bodies of `quietly` that run, in any thread,
# and what levels were before the first. The lock is held for moments alone, never while a body runs: one that an
# interrupt has left without an end ends with its garbage, in any thread, maybe in one that has the lock.
_changing = threading.RLock()

_bodies: set[object] = set()

_levels: dict[logging.Logger, int] = {}

# PyTensor sets the level of its own logger at import, which that of a child overrules.
_OF_PYTENSOR = "pytensor", "pytensor.configdefaults", "pytensor.tensor.blas"

_LOGGERS = "pymc", *_OF_PYTENSOR, "arviz", "arviz.preview", "numba"


class _ThisThread(threading.local):
    """A module's pattern in a filter of warnings: it matches any in threads that want to hear nothing."""

    def __init__(self) -> None:
        self.bodies: set[object] = set()

    def match(self, module: str) -> bool:
        return bool(self.bodies)


_this_thread = _ThisThread()

_ignored: Any = ("ignore", None, Warning, _this_thread, 0)


def _put_first(filters: list[Any]) -> None:
    """Put our filter before all others."""
    if not (filters and filters[0] is _ignored):
        _take_out(filters)
        filters.insert(0, _ignored)


def _take_out(filters: list[Any]) -> None:
    if _ignored in filters:
        filters.remove(_ignored)


@contextmanager
def quietly() -> Iterator[None]:
    """Run the body without what PyMC, PyTensor, Numba and ArviZ warn and announce.

    Filters of warnings are the process's, too. `warnings.catch_warnings` would silence all threads, and put back what
    another one may have changed since: here one filter comes and goes that knows the thread.
    """
    body, of_thread = object(), _this_thread.bodies
    try:
        with _changing:
            if not _bodies:
                _levels.update((logger, logger.level) for logger in map(logging.getLogger, _LOGGERS))
            _bodies.add(body)
            of_thread.add(body)
            for logger in _levels:
                logger.setLevel(logging.ERROR)
            _put_first(cast("list[Any]", warnings.filters))
        yield
    finally:
        with _changing:
            _bodies.discard(body)
            of_thread.discard(body)
            if not _bodies:
                _take_out(cast("list[Any]", warnings.filters))
                for logger, level in _levels.items():
                    logger.setLevel(level)
                _levels.clear()


_blas_lock = threading.RLock()  # as above

_blas_users: set[object] = set()

_blas_limits: Any = None


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Run the body with linear algebra libraries on one thread; the last one out gives them back."""
    global _blas_limits
    user = object()
    try:
        with _blas_lock:
            _blas_users.add(user)
            if _blas_limits is None:
                _blas_limits = threadpool_limits(limits=1, user_api="blas")
        yield
    finally:
        with _blas_lock:
            _blas_users.discard(user)
            if not _blas_users and _blas_limits is not None:
                _blas_limits.restore_original_limits()
                _blas_limits = None


@contextmanager
def numba_in_vectors() -> Iterator[None]:
    """Run the body with what PyTensor compiles by Numba, in any thread, putting no result in an operand's place.

    Of arrays that may be the same LLVM makes no vector instructions: a gradient would take twice as long.
    """
    from pytensor.compile import mode

    modes = mode.predefined_modes
    given = modes["NUMBA"]
    modes["NUMBA"] = given.excluding("inplace_elemwise")
    try:
        yield
    finally:
        modes["NUMBA"] = given


def _with_dims(draws: Mapping[str, Array]) -> dict[str, tuple[list[str], Array]]:
    """Return draws with names of their dims, as xarray takes them."""
    return {
        name: (["chain", "draw", *(f"{name}_{i}" for i in range(values.ndim - 2))], values)
        for name, values in draws.items()
    }


def _flat(draws: Array) -> Array:
    """Return draws as (chain, draw, k)."""
    return draws.reshape(*draws.shape[:2], -1)


def diagnostics(draws: Mapping[str, Array]) -> dict[str, dict[str, Array]]:
    """Return R-hat, bulk and tail effective sample size of every variable.

    Parameters
    ----------
    draws : mapping of str to ndarray of shape (chain, draw, ...)

    Returns
    -------
    dict of str to dict of str to ndarray
        Keys ``r_hat``, ``ess_bulk``, ``ess_tail``; arrays of the variables' own shape, NaN for too short chains.
    """
    if not is_installed("arviz"):
        own = {name: convergence(_flat(values)) for name, values in draws.items()}
        return {
            measure: {name: own[name][place].reshape(values.shape[2:]) for name, values in draws.items()}
            for place, measure in enumerate(("r_hat", "ess_bulk", "ess_tail"))
        }
    with quietly():
        import arviz as az
        import xarray as xr

        dataset = xr.Dataset(_with_dims(draws))
        found = {
            "r_hat": az.rhat(dataset),
            "ess_bulk": az.ess(dataset, method="bulk"),
            "ess_tail": az.ess(dataset, method="tail"),
        }
    return {
        measure: {name: np.asarray(values[name], dtype=np.float64) for name in draws}
        for measure, values in found.items()
    }


def inference_data(
    groups: Mapping[str, Mapping[str, tuple[tuple[str, ...], NDArray[Any]]]],
    coords: Mapping[str, NDArray[Any]],
    attributes: Mapping[str, str],
) -> Any:
    """Return groups of arrays in ArviZ's container: InferenceData in 0.x, xarray.DataTree in 1.x. Nothing is copied.

    Parameters
    ----------
    groups : mapping of str to mapping of str to (dims, ndarray)
        Group, variable.
    coords : mapping of str to ndarray
        Labels along dims; those of the others are their positions.
    attributes : mapping of str to str
        Of the whole and of every group.
    """
    attributes = {"created_at": datetime.now(UTC).isoformat(), **attributes}
    with quietly():
        import arviz as az
        import xarray as xr

        datasets = {}
        for group, variables in groups.items():
            sizes = {
                dim: size
                for dims, values in variables.values()
                for dim, size in zip(dims, values.shape, strict=True)
            }
            labels = {dim: coords.get(dim, np.arange(size)) for dim, size in sizes.items()}
            datasets[group] = xr.Dataset(variables, coords=labels, attrs=attributes)
        if az.__version__.startswith("0."):
            container: Any = az.InferenceData
            return container(attrs=attributes, **datasets)
        return xr.DataTree.from_dict({"/": xr.Dataset(attrs=attributes), **datasets})


def prior_draws(model: Any, names: Sequence[str], draws: int, seed: int) -> dict[str, Array]:
    """Return draws of variables of a PyMC model from its prior, (draw, ...) each."""
    with quietly():
        import pymc as pm

        drawn = pm.sample_prior_predictive(
            draws=draws, model=model, var_names=list(names), random_seed=seed, return_inferencedata=False
        )
    return {name: np.asarray(drawn[name]) for name in names}


def draws_of_distribution(
    name: str, parameters: Mapping[str, Array], shape: tuple[int, ...], seed: int
) -> Array:
    """Return draws of PyMC's distribution of this name.

    Raises
    ------
    ImportError
        Where PyMC is not installed.
    """
    check_installed(f"Drawing from PyMC's {name}", "pymc")
    with quietly():
        import pymc as pm

        return np.asarray(pm.draw(getattr(pm, name).dist(**parameters, shape=shape), random_seed=seed))


class Weights(NamedTuple):
    """Pareto-smoothed importance weights that make draws given all rows ones given the others."""

    log_weights: Array
    """(n, G) summing to one in each row."""
    pareto_k: Array
    """(n,)"""


def relative_efficiency(draws: Mapping[str, Array]) -> float:
    """Return how many independent draws a draw is worth, as ``az.loo`` takes it: the mean over all parameters.

    Parameters
    ----------
    draws : mapping of str to ndarray of shape (chain, draw, ...)
    """
    chains, size = next(iter(draws.values())).shape[:2]
    if chains == 1:
        return 1.0
    if not is_installed("arviz"):
        bulk = [convergence(_flat(values)).bulk for values in draws.values()]
        return float(np.concatenate(bulk).mean() / (chains * size))
    with quietly():
        import arviz as az
        import xarray as xr

        dataset = xr.Dataset(_with_dims(draws))
        found = az.ess(dataset, method="mean")
        return float(np.concatenate([np.ravel(found[name]) for name in draws]).mean() / (chains * size))


def psis_weights(log_likelihood: Array, efficiency: float) -> Weights:
    """Return the weights that ``az.loo`` works with; without ArviZ by our own smoothing.

    Parameters
    ----------
    log_likelihood : ndarray of shape (n, G)
        Of each row, at each draw.
    efficiency : float
        From `relative_efficiency`.
    """
    found: Any
    if not is_installed("arviz"):
        rows = [pareto_smoothed(-row) for row in log_likelihood]
        smoothed = np.array([weights - logsumexp(weights) for weights, _ in rows])
        return Weights(smoothed, _where_told(np.array([k for _, k in rows]), log_likelihood))
    with quietly():
        import arviz as az

        if az.__version__.startswith("0."):
            found = az.psislw(-log_likelihood, efficiency)
        else:
            from arviz_stats.base import array_stats

            # Takes the log likelihood itself.
            found = array_stats.psislw(log_likelihood, r_eff=efficiency, axis=-1)
    log_weights, pareto_k = (np.array(part, dtype=np.float64) for part in found)
    alike = ~np.isfinite(log_weights).all(axis=1) & (
        np.ptp(log_likelihood, axis=1) < _HARDLY
    )  # of rows that are as likely at every draw the smoothed tail may be no number
    raw = -log_likelihood[alike]
    log_weights[alike] = raw - logsumexp(raw, axis=1, keepdims=True)
    return Weights(log_weights, _where_told(pareto_k, log_likelihood))


# Log likelihoods that differ by less than this from draw to draw.
_HARDLY = 0.05


def _where_told(pareto_k: Array, log_likelihood: Array) -> Array:
    """Return Pareto k, (n,), at most zero of rows that are hardly likelier at one draw than at another, (n, G).

    Their ratios have no tail, whatever the shape that is fitted to the last of their digits.
    """
    return np.where(np.ptp(log_likelihood, axis=1) < _HARDLY, np.fmin(pareto_k, 0.0), pareto_k)


def good_pareto_k(size: int) -> float:
    """Return what Pareto k of so many draws has to stay below (Vehtari et al. 2024, JMLR 25(72))."""
    return min(1.0 - 1.0 / float(np.log10(size)), 0.7)


@dataclass(frozen=True, eq=False)
class LeaveOneOutResult:
    """What `loo` finds, where ArviZ is not installed, by the names of ArviZ 1.x."""

    elpd: float
    """Expected log pointwise predictive density."""
    se: float
    p: float
    """Effective number of parameters."""
    n_samples: int
    n_data_points: int
    warning: bool
    """Whether some Pareto k are too large."""
    good_k: float
    elpd_i: Array
    """(n,) for each row, of these ..."""
    labels: NDArray[Any]
    """... labels."""
    pareto_k: Array | None

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)

    def __str__(self) -> str:
        doubt = f"; Pareto k above {self.good_k:.2f} in some rows" if self.warning else ""
        sums = f"elpd {self.elpd:.2f} (standard error {self.se:.2f}), p {self.p:.2f}"
        return f"Leave-one-out of {self.n_data_points} rows: {sums}{doubt}"


def elpd_data(
    values: Array,
    labels: NDArray[Any],
    *,
    p: float,
    n_samples: int,
    pareto_k: Array | None = None,
    good_k: float = 0.7,
) -> Any:
    """Return leave-one-out as the object that ``az.compare`` takes.

    Parameters
    ----------
    values : ndarray of shape (n,)
        Log densities, a row.
    labels : ndarray of shape (n,)
        Of the rows.
    p : float
        Effective number of parameters.
    n_samples : int
        Draws that were used.
    pareto_k : ndarray of shape (n,), optional
        Shape parameters, where importance ratios were smoothed.
    good_k : float, default=0.7
        Above it values are not to be trusted.

    Returns
    -------
    arviz.ELPDData, or LeaveOneOutResult where ArviZ is not installed
    """
    if not is_installed("arviz"):
        return LeaveOneOutResult(
            elpd=float(values.sum()),
            se=float(np.sqrt(len(values) * np.var(values, ddof=1))),
            p=p,
            n_samples=n_samples,
            n_data_points=len(values),
            warning=bool(pareto_k is not None and (pareto_k > good_k).any()),
            good_k=good_k,
            elpd_i=values,
            labels=labels,
            pareto_k=pareto_k,
        )
    with quietly():
        import arviz as az
        import xarray as xr

        coords = {"obs": labels}
        pointwise = xr.DataArray(values, coords=coords, dims=["obs"], name="loo_i")
        k = (
            None
            if pareto_k is None
            else xr.DataArray(pareto_k, coords=coords, dims=["obs"], name="pareto_shape")
        )
        old = az.__version__.startswith("0.")
        common: dict[str, Any] = {
            "se": float(np.sqrt(len(values) * np.var(values, ddof=0 if old else 1))),
            "n_samples": n_samples,
            "n_data_points": len(values),
            "warning": bool(pareto_k is not None and (pareto_k > good_k).any()),
            "scale": "log",
            "good_k": good_k,
        }
        elpd = float(np.sum(values))
        if old:
            smoothed = {} if k is None else {"pareto_k": k}
            # The first name says what it is; the first three are printed by their places.
            fields = {
                "elpd_loo": elpd,
                "se": common["se"],
                "p_loo": p,
                **common,
                "loo_i": pointwise,
                **smoothed,
            }
            return az.ELPDData(data=list(fields.values()), index=list(fields))
        from arviz_stats import utils

        kind = getattr(utils, "ELPDDataLOO", None) or partial(utils.ELPDData, kind="loo")
        return kind(elpd=elpd, p=p, **common, elpd_i=pointwise, pareto_k=k)


def expected_log_density(found: Any) -> float:
    """Return the sum that `elpd_data` holds."""
    return float(found.elpd_loo if hasattr(found, "elpd_loo") else found.elpd)
