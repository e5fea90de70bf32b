"""Arguments that there are not: which one may have been meant, and what else is raised left as it is."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sklearn

import bayes_sklearn
from bayes_sklearn import BayesianErrorsInVariablesRegressor as Regressor
from bayes_sklearn import BayesianErrorsInVariablesRegressorCV, audit_errors, distributed
from bayes_sklearn.displays import RegressionLineDisplay
from bayes_sklearn.measurements.messages import hinting

from data import measured

X, Y, Y_ERR = measured()


@pytest.fixture(scope="module")
def model() -> Regressor:
    return Regressor().fit(X, Y)


@pytest.mark.parametrize(
    ("given", "meant"),
    {
        "x_err": "X_err", "xerr": "X_err", "X_error": "X_err", "x_errors": "X_err", "dx": "X_err",
        "yerr": "y_err", "y_error": "y_err", "Y_err": "y_err", "y_std": "y_err", "sigma": "y_err", "dy": "y_err",
        "xcov": "X_cov", "exposures": "exposure", "censored": "y_censored",
        "weights": "sample_weight", "sample_weights": "sample_weight", "counts": "sample_weight",
        "trials": "sample_weight",
    }.items(),
)  # fmt: skip
def test_slips_of_fit_are_told_what_may_have_been_meant(model: Regressor, given: str, meant: str) -> None:
    for method in (Regressor().fit, BayesianErrorsInVariablesRegressorCV().fit):
        with pytest.raises(TypeError, match=f"^{given} is not an argument of fit: did you mean {meant}[ ?]"):
            method(X, Y, **{given: 1.0})
    if meant in ("X_err", "y_err"):
        for method in (
            model.predict,
            model.predict_distribution,
            model.predict_interval,
            model.predict_quantiles,
        ):
            with pytest.raises(TypeError, match=f"of predict(_distribution)?: did you mean {meant}\\?"):
                method(X, **{given: 1.0})


@pytest.mark.parametrize("given", ["groups", "group"])
def test_groups_are_a_column_that_a_parameter_names(given: str) -> None:
    hint = rf"did you mean {Regressor.__name__}\(group_column=\.\.\.\), a parameter"
    with pytest.raises(TypeError, match=hint):
        Regressor().fit(X, Y, **{given: np.zeros(60)})


def test_parameters_of_the_model_are_none_of_its_fit() -> None:
    for name in Regressor().get_params(deep=False):
        with pytest.raises(TypeError, match=rf"{Regressor.__name__}\({name}=\.\.\.\), a parameter"):
            Regressor().fit(X, Y, **{name: None})


@pytest.mark.parametrize(
    ("call", "hint"),
    [
        (lambda model: model.partial_fit(X, Y, x_err=1.0), "partial_fit: did you mean X_err"),
        (lambda model: model.loo(X, Y, yerr=1.0), "loo: did you mean y_err"),
        (lambda model: model.loo_pit(X, Y, yerr=1.0), "loo_pit: did you mean y_err"),
        (lambda model: model.to_pymc(X, Y, x_err=1.0), "to_pymc: did you mean X_err"),
        (lambda model: model.to_arviz(X, Y, x_err=1.0), "to_arviz: did you mean X_err"),
        (lambda model: model.score(X, Y, weights=1.0), "score: did you mean sample_weight"),
        (lambda model: model.sample_y(X, x_err=1.0), "predict_distribution: did you mean X_err"),
        (lambda model: model.predict(X, sample_weight=Y), "predict: did you mean counts"),
        (lambda model: model.inverse_predict(Y, yerr=1.0), "inverse_predict: did you mean y_err"),
        (lambda model: audit_errors(model, X, Y, x_err=1.0), "audit_errors: did you mean X_err"),
        (lambda model: distributed.fit(model, X, Y, x_err=1.0), "fit: did you mean X_err"),
        (
            lambda model: RegressionLineDisplay.from_estimator(model, X, Y, xerr=1.0),
            "from_estimator: did you mean X_err",
        ),
    ],
)
def test_whatever_takes_errors_gives_the_hint(
    model: Regressor, call: Callable[[Any], Any], hint: str
) -> None:
    with pytest.raises(TypeError, match=hint) as raised:
        call(model)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__


def test_what_is_like_nothing_is_told_what_there_is(model: Regressor) -> None:
    with pytest.raises(
        TypeError, match=r"^banana is not an argument of score, which takes X, y, sample_weight, "
    ):
        model.score(X, Y, banana=1.0)
    with pytest.raises(TypeError) as raised:
        model.fit(X, Y, **{"banana" * 100: 1.0})
    assert len(str(raised.value)) <= 400


def test_errors_from_within_are_left_as_they_are(model: Regressor) -> None:
    @hinting
    def outer(x_err: float = 0.0, **others: float) -> None:
        inner(X_err=x_err)

    def inner(y_err: float = 0.0) -> None:
        raise AssertionError

    # Of a function that takes no such argument, called from within, Python's own error.
    with pytest.raises(TypeError, match=r"inner\(\) got an unexpected keyword argument 'X_err'"):
        outer(x_err=1.0, y_error=1.0)
    with pytest.raises(TypeError, match=r"fit\(\) missing 1 required positional argument: 'y'"):
        model.fit(X)
    with pytest.raises(TypeError, match="y_err must be an array of 60 real numbers") as raised:
        model.fit(X, Y, y_err=object())
    names = [frame.name for frame in traceback.extract_tb(raised.value.__traceback__)]
    assert "fit" in names
    with pytest.raises(TypeError, match="positional arguments"):
        model.fit(X, Y, None, None)


def test_signatures_and_requests_are_what_they_were() -> None:
    for method in ("fit", "partial_fit", "predict", "score", "loo"):
        function = getattr(Regressor, method)
        parameters = inspect.signature(function).parameters
        assert list(parameters)[:2] == ["self", "X"]
        assert not any(one.kind is one.VAR_KEYWORD for one in parameters.values())
        assert function.__doc__
        assert function.__qualname__.endswith(f".{method}")
        assert function.__name__ == method
    with sklearn.config_context(enable_metadata_routing=True):
        requests = Regressor().set_fit_request(sample_weight=True).get_metadata_routing()
        assert requests.fit.requests["X_err"] is True
        assert requests.fit.requests["sample_weight"] is True
        assert requests.predict.requests["X_err"] is True
    assert list(inspect.signature(bayes_sklearn.audit_errors).parameters)[:3] == ["estimator", "X", "y"]
