"""Saving and loading: what files of a model have beside it, and what skops has to trust."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.exceptions import InconsistentVersionWarning

from .measurements.messages import warn

__all__ = ["TRUSTED_TYPES", "OtherVersionWarning", "PersistenceMixin"]

_COEFFICIENT_PRIORS = ("Horseshoe", "Laplace", "Normal", "PoweredCorrelation", "StudentT")

_SCALE_PRIORS = (
    "Beta",
    "Exponential",
    "Gamma",
    "HalfCauchy",
    "HalfNormal",
    "HalfStudentT",
    "InverseGamma",
    "ScatterPrior",
)

_STEPS = (
    "functions.MeasuredFunction",
    "pairs.MeasuredPair",
    "polynomials.MeasuredPolynomial",
    "replicates.ReplicateMean",
    "scaling.MeasuredScaler",
)

TRUSTED_TYPES: tuple[str, ...] = (
    "bayes_sklearn.estimators.regressor.BayesianErrorsInVariablesRegressor",
    "bayes_sklearn.estimators.search.BayesianErrorsInVariablesRegressorCV",
    # Parameters.
    "bayes_sklearn.priors.base.Flat",
    *(f"bayes_sklearn.priors.coefficients.{name}" for name in _COEFFICIENT_PRIORS),
    *(f"bayes_sklearn.priors.scales.{name}" for name in _SCALE_PRIORS),
    "bayes_sklearn.likelihoods.additive.NormalLikelihood",
    "bayes_sklearn.likelihoods.additive.StudentTLikelihood",
    "bayes_sklearn.likelihoods.proportions.BetaLikelihood",
    "bayes_sklearn.likelihoods.rates.NegativeBinomialLikelihood",
    "bayes_sklearn.likelihoods.rates.PoissonLikelihood",
    "bayes_sklearn.likelihoods.shares.BetaBinomialLikelihood",
    "bayes_sklearn.likelihoods.shares.BinomialLikelihood",
    "bayes_sklearn.priors.true_features.Mixture",
    "bayes_sklearn.priors.true_features.Outliers",
    # Steps before.
    *(f"bayes_sklearn.preprocessing.{name}" for name in _STEPS),
    # What a fit has found.
    "bayes_sklearn.estimators.fitted.FittedModel",
    "bayes_sklearn.measurements.columns.Columns",
    "bayes_sklearn.measurements.target_errors.CountErrors",
    "bayes_sklearn.likelihoods.noise.Noise",
    "bayes_sklearn.prediction.noise.NoiseModel",
    "bayes_sklearn.estimators.fitting.Attenuation",
    "bayes_sklearn.inference.chi_square.ChiSquare",
    "bayes_sklearn.inference.groups.drawn.DrawnEffects",
    "bayes_sklearn.inference.groups.drawn.DrawnLevels",
    "bayes_sklearn.inference.groups.effects.AtScales",
    "bayes_sklearn.inference.groups.effects.Effects",
    "bayes_sklearn.inference.groups.effects.Layout",
    "bayes_sklearn.measurements.error_models.variance_function.VarianceFunction",
    "bayes_sklearn.measurements.groups.cells.Cells",
    "bayes_sklearn.measurements.groups.labels.Groupings",
    "bayes_sklearn.measurements.correlated.covariance.Block",
    "bayes_sklearn.measurements.correlated.covariance.Covariance",
    "bayes_sklearn.prediction.correlated.told.ToldByCovariance",
    "bayes_sklearn.prediction.correlated.told.ToldBySharedErrors",
    "bayes_sklearn.inference.posterior.Chains",
    "bayes_sklearn.inference.node_covariances.Factors",
    "bayes_sklearn.inference.node_covariances.Joined",
    "bayes_sklearn.inference.posterior.Posterior",
    "bayes_sklearn.inference.node_covariances.SharedBasis",
    "bayes_sklearn.inference.scaling.Scaling",
    "bayes_sklearn.inference.structural.true_features.TrueFeatures",
    "bayes_sklearn.inference.structural.true_mixture.TrueMixture",
    # What goes on with a further batch.
    "bayes_sklearn.measurements.weights.Before",
    "bayes_sklearn.measurements.feature_errors.FeatureErrors",
    "bayes_sklearn.measurements.compressed.Compressed",
    "bayes_sklearn.measurements.grouped.Sufficient",
    "bayes_sklearn.estimators.partial_fit.Seen",
)
"""Types to give to ``skops.io.load`` as trusted: all of this package's that any fitted model consists of."""

_VERSION = "_bayes_sklearn_version"

# What is written as it is. Of anything else pickle would build objects as it reads, before they could be checked.
_SCALARS = (type(None), bool, int, float, complex, str, bytes)


class OtherVersionWarning(InconsistentVersionWarning):
    """A model is loaded by another version of bayes_sklearn than it was saved by.

    Parameters
    ----------
    estimator_name : str
    saved_by, loaded_by : str
        The versions.

    Examples
    --------
    >>> from bayes_sklearn.persistence import OtherVersionWarning
    >>> warning = OtherVersionWarning(estimator_name="Model", saved_by="0.1.0", loaded_by="0.2.0")
    >>> warning.saved_by, warning.loaded_by
    ('0.1.0', '0.2.0')
    """

    def __init__(self, *, estimator_name: str, saved_by: str, loaded_by: str):
        super().__init__(
            estimator_name=estimator_name,
            current_sklearn_version=loaded_by,
            original_sklearn_version=saved_by,
        )
        self.saved_by, self.loaded_by = saved_by, loaded_by

    def __str__(self) -> str:
        return (
            f"This {self.estimator_name} was saved by bayes_sklearn {self.saved_by} and is loaded by"
            f" {self.loaded_by}, which may read it wrongly: install {self.saved_by}, or fit again."
        )


class PersistenceMixin:
    """Pickles of an estimator carry the version, and a checksum that is looked at before anything is built."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        written = _written(self)
        return _restored, (written, _checksum(written))

    def __copy__(self) -> Self:
        copied = type(self).__new__(type(self))
        copied.__dict__.update(self.__dict__)
        return copied

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), _VERSION: _version()}  # type: ignore[dict-item]

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        kept = {name: value for name, value in state.items() if name != _VERSION}
        saved_by = str(state.get(_VERSION, "an unknown version"))
        if saved_by != _version():
            name = type(self).__name__
            warn(OtherVersionWarning(estimator_name=name, saved_by=saved_by, loaded_by=_version()))
        super().__setstate__(kept)  # type: ignore[misc]


def _version() -> str:
    return str(sys.modules[str(__package__)].__version__)


def _restored(written: Any, checksum: object) -> Any:
    """Return the estimator that was pickled.

    Raises
    ------
    ValueError
        Where it is not what was pickled.
    """
    if _checksum(written) != checksum:
        raise ValueError(
            "The saved model is damaged: its contents are not those it was saved with. Load another copy, or fit"
            " again."
        )
    return _built(written)


def _written(value: Any) -> Any:
    """Return a value as nested tuples of numbers, names and bytes; others' objects as they are."""
    if type(value) in _SCALARS:
        return value
    if isinstance(value, np.ma.MaskedArray):
        return "masked", _written(np.ma.getdata(value)), _written(np.ma.getmaskarray(value))
    if isinstance(value, np.ndarray) and value.dtype.kind == "O":
        return "objects", value.shape, tuple(map(_written, value.ravel().tolist()))
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind != "V":
        # In which order numbers lie in memory decides how products round.
        order = "F" if value.flags.f_contiguous and not value.flags.c_contiguous else "C"
        what = "array" if isinstance(value, np.ndarray) else "scalar"
        return what, value.dtype.str, value.shape, order, value.tobytes(order="A")
    if type(value) is dict:
        return "dict", tuple((_written(key), _written(item)) for key, item in value.items())
    if type(value) in (list, tuple) or (isinstance(value, tuple) and _is_ours(value)):
        return "sequence", type(value), tuple(map(_written, value))
    if isinstance(value, BaseEstimator) or _is_ours(value):
        return "object", type(value), _written(value.__getstate__())
    return "other", value


def _built(written: Any) -> Any:
    """Return what was written."""
    if not isinstance(written, tuple):
        return written
    match written:
        case "masked", data, mask:
            return np.ma.MaskedArray(_built(data), mask=_built(mask))
        case "objects", shape, items:
            array = np.empty(len(items), dtype=object)
            array[:] = [_built(item) for item in items]
            return array.reshape(shape)
        case "array" | "scalar" as what, dtype, shape, order, numbers:
            view: NDArray[Any] = np.ndarray(shape, np.dtype(dtype), numbers, order=order)
            return view.copy(order="K") if what == "array" else view[()]
        case "dict", items:
            return {_built(key): _built(item) for key, item in items}
        case "sequence", cls, items:
            built = map(_built, items)
            return cls(*built) if hasattr(cls, "_fields") else cls(built)
        case "object", cls, state:
            value = cls.__new__(cls)
            found = _built(state)
            if hasattr(value, "__setstate__"):
                value.__setstate__(found)
            elif found:
                value.__dict__.update(found)
            return value
        case _, value:
            return value


def _is_ours(value: object) -> bool:
    return type(value).__module__.partition(".")[0] == __package__


def _checksum(written: Any) -> str:
    """Return a hash of all that was written, and of how it belongs together; of others' objects of what they are."""
    parts: list[bytes] = []
    _collect(written, parts.append)
    found = blake2b(digest_size=16)
    for part in parts:
        # Lengths in front, so that no other parts give the same.
        found.update(b"%d:" % len(part))
        found.update(part)
    return found.hexdigest()


def _collect(written: Any, add: Callable[[bytes], None]) -> None:
    if isinstance(written, tuple):
        add(b"(%d" % len(written))
        for part in written:
            _collect(part, add)
    elif isinstance(written, bytes):
        add(written)
    elif isinstance(written, _SCALARS):
        add(ascii(written).encode())
    else:
        what = written if isinstance(written, type) else type(written)
        add(f"{what.__module__}.{what.__qualname__}".encode())
