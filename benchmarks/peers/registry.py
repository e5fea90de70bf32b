"""The peers: which package each needs, what it can't do, and its adapter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec

from .fits import Fit
from .tasks import Rows, Task

__all__ = ["PEERS", "Peer"]

_NO_ERRORS = "takes no errors of x"
_ONLY_FEATURES = "for errors of x"


@dataclass(frozen=True)
class Peer:
    """A way to fit."""

    name: str
    adapter: str
    """``module:function`` or ``module:function:argument``; imported in the process that fits."""
    packages: tuple[str, ...]
    """What has to be installed."""
    cannot: Mapping[str, str] = field(default_factory=dict)
    """Kinds of tasks to reasons."""
    samples: bool = False

    def why_not(self, task: Task) -> str:
        """Return why the peer has nothing to say of a task; empty where it has."""
        if task.kind in self.cannot:
            return self.cannot[task.kind]
        if self.name == "BCES" and task.columns > 1:
            return "takes a single feature"
        if self.name == "Bambi" and task.noise == "additive":
            return "has no scatter beside the errors"
        return ""

    def missing(self) -> list[str]:
        """Return which packages are not installed."""
        return [package for package in self.packages if find_spec(package) is None]

    def make(self, task: Task) -> Callable[[Rows], Fit]:
        """Import the peer and return its adapter for a task: from rows to a fit."""
        module, name, *argument = self.adapter.split(":")
        found = getattr(import_module(f".{module}", __package__), name)
        return found(*argument)(task) if argument else found(task)


def _sampled(name: str, function: str, *packages: str) -> Peer:
    return Peer(name, f"reference:{function}", packages, {"features": _NO_ERRORS}, samples=True)


_OTHER_LIKELIHOOD = {"targets": "for shares", "features": "for shares"}
_ONLY_ERRORS_IN_X = {"shares": _ONLY_FEATURES, "targets": _ONLY_FEATURES}

_ALL = [
    Peer("bayes_sklearn", "ours:under:normal", ("bayes_sklearn",)),
    Peer("bayes_sklearn, binomial", "ours:under:binomial", ("bayes_sklearn",), _OTHER_LIKELIHOOD),
    Peer("bayes_sklearn, beta-binomial", "ours:under:beta_binomial", ("bayes_sklearn",), _OTHER_LIKELIHOOD),
    Peer("LinearRegression", "linear_models:linear_regression", ("sklearn",)),
    Peer("Ridge", "linear_models:ridge", ("sklearn",), {"features": _NO_ERRORS}),
    Peer("BayesianRidge", "linear_models:bayesian_ridge", ("sklearn",), {"features": _NO_ERRORS}),
    Peer("ARDRegression", "linear_models:ard", ("sklearn",), {"features": _NO_ERRORS}),
    Peer(
        "GaussianProcessRegressor", "linear_models:gaussian_process", ("sklearn",), {"features": _NO_ERRORS}
    ),
    Peer("statsmodels WLS", "statistical_models:wls", ("statsmodels",)),
    Peer("statsmodels GLM", "statistical_models:glm", ("statsmodels",), _OTHER_LIKELIHOOD),
    _sampled("PyMC", "pymc", "pymc"),
    _sampled("nutpie", "nutpie", "pymc", "nutpie"),
    _sampled("Bambi", "bambi", "bambi"),
    _sampled("numpyro", "numpyro", "numpyro", "jax"),
    Peer("odrpack", "errors_in_x:orthogonal", ("odrpack",), _ONLY_ERRORS_IN_X),
    Peer("BCES", "errors_in_x:bces", ("bces",), _ONLY_ERRORS_IN_X),
    Peer("PyMC, latent x", "latent:latent", ("pymc", "nutpie"), _ONLY_ERRORS_IN_X, samples=True),
]

PEERS = {peer.name: peer for peer in _ALL}
