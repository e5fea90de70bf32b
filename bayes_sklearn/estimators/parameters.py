"""What the estimator's parameters may be, how defaults' are set, what metadata is routed; attributes after errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any, ClassVar, Self

from sklearn.base import clone
from sklearn.utils._param_validation import Interval, StrOptions

from ..inference import ENGINES
from ..likelihoods.noise import NOISES
from ..likelihoods.registry import resolve_likelihood
from ..measurements.messages import brief, remembered
from ..priors.base import Parametrized
from .reading import settable_prior

__all__ = ["ParametersMixin", "untouched_on_error"]


class ParametersMixin(Parametrized):
    """The parameters, but for their defaults."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "likelihood": "no_validation",
        "coef_prior": "no_validation",
        "intercept_prior": "no_validation",
        "noise_prior": "no_validation",
        "noise": [StrOptions({*NOISES})],
        "weight_type": [StrOptions({"auto", "counts", "frequency", "precision"})],
        "count_error": [StrOptions({"fitted", "observed"})],
        "error_floor": [Interval(Real, 0.0, None, closed="left")],
        "count_column": "no_validation",
        "y_err_column": "no_validation",
        "exposure_column": "no_validation",
        "y_censored_column": "no_validation",
        "error_columns": "no_validation",
        "group_column": "no_validation",
        "group_slopes": "no_validation",
        "group_prior": "no_validation",
        "missing": [StrOptions({"error", "model"})],
        "truncation": "no_validation",
        "x_distribution": "no_validation",
        "x_error_distribution": "no_validation",
        "x_error_dof": "no_validation",
        "standardize": ["boolean"],
        "fit_intercept": ["boolean"],
        "inference": [StrOptions({"auto", *ENGINES})],
        "draws": [Interval(Integral, 1, None, closed="left")],
        "chains": [Interval(Integral, 1, None, closed="left")],
        "nuts_kwargs": [Mapping, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }
    # With metadata routing on, errors go where they are given without being asked for.
    __metadata_request__fit: ClassVar[dict[str, bool]] = dict.fromkeys(
        (
            "y_err",
            "X_err",
            "X_cov",
            "Xy_cov",
            "X_censored",
            "X_err_groups",
            "exposure",
            "y_censored",
            "y_upper",
            "y_shared_err",
        ),
        True,
    )
    __metadata_request__partial_fit: ClassVar[dict[str, bool]] = dict.fromkeys(
        ("y_err", "X_err", "X_cov", "Xy_cov"), True
    )
    __metadata_request__predict: ClassVar[dict[str, bool]] = dict.fromkeys(
        ("y_err", "counts", "X_err", "X_cov", "Xy_cov", "X_censored", "exposure", "y_shared_err"), True
    )
    __metadata_request__score: ClassVar[dict[str, bool]] = dict.fromkeys(("X_censored", "exposure"), True)

    def set_params(self, **params: Any) -> Self:
        """Set parameters, those of the default priors included.

        ``coef_prior__sigma`` (and the like) can be set where ``coef_prior`` is None: a plain prior, ``Normal()`` for
        coefficients and intercept, is put there first.

        Parameters
        ----------
        **params
            Names and values.

        Returns
        -------
        self

        Examples
        --------
        >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor
        >>> BayesianErrorsInVariablesRegressor().set_params(coef_prior__sigma=0.5).coef_prior
        Normal(sigma=0.5)
        """
        roles = ("coef_prior", "intercept_prior", "noise_prior", "group_prior")
        for key in tuple(params):
            role, _, name = key.partition("__")
            if name and role in roles and params.get(role, getattr(self, role)) is None:
                likelihood = resolve_likelihood(params.get("likelihood", self.likelihood))
                # Tried first, so that a name it does not have leaves nothing behind.
                params[role] = clone(settable_prior(role, likelihood)).set_params(**{name: params[key]})
        super().set_params(**params)
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.missing == "model"
        return tags

    def _validate_params(self) -> None:
        with brief():
            super()._validate_params()


@contextmanager
def untouched_on_error(model: Any) -> Iterator[None]:
    """Put every attribute back as it was if the body fails or is interrupted; remember what it warns of."""
    before = model.__dict__.copy()
    try:
        with brief(), remembered() as said:
            yield
        model.fit_warnings_ = tuple(dict.fromkeys(said))
    except BaseException:
        model.__dict__ = before  # at once: a second interrupt can't come in between
        raise
