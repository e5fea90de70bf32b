"""scikit-learn's common checks of the transformers that carry errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from bayes_sklearn.preprocessing import (
    MeasuredFunction,
    MeasuredPair,
    MeasuredPolynomial,
    MeasuredScaler,
    ReplicateMean,
)

pytestmark = pytest.mark.filterwarnings("ignore:Can't check dok sparse matrix")

TRANSFORMERS = [
    MeasuredFunction("sqrt"),
    MeasuredFunction("power", exponent=3),
    MeasuredFunction(np.arcsinh, inverse=np.sinh),
    MeasuredScaler(),
    MeasuredScaler(with_mean=False, with_std=False),
    MeasuredPair("difference"),
    MeasuredPair("difference", keep="second"),
    MeasuredPolynomial(),
    MeasuredPolynomial(3, interaction_only=True),
    ReplicateMean(),
    ReplicateMean(variance="pooled"),
]


@parametrize_with_checks(TRANSFORMERS)
def test_common_check_passes_of_transformers(estimator: Any, check: Any) -> None:
    check(estimator)


class LogarithmOfOneMore(MeasuredFunction):
    """Logarithms of what the checks give, which has zeros."""

    def _function(self) -> Any:
        return super()._function()._replace(value=np.log1p, slope=lambda x: 1.0 / (1.0 + x), inverse=np.expm1)


REFUSED = {
    MeasuredPair: {"check_estimators_dtypes": "whole numbers have zeros, and ratios to these are refused"},
    ReplicateMean: {"check_estimators_pickle": "of two readings, one of which is NaN, there is no scatter"},
}


@parametrize_with_checks(
    [LogarithmOfOneMore(), MeasuredPair(), ReplicateMean(variance="own")],
    expected_failed_checks=lambda estimator: REFUSED.get(type(estimator), {}),
)
def test_common_check_passes_but_of_data_that_are_refused(estimator: Any, check: Any) -> None:
    check(estimator)
