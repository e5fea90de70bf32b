"""scikit-learn's common checks of an estimator that samples: few draws, for the checks are about everything else."""

from __future__ import annotations

from typing import Any

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from bayes_sklearn import BayesianErrorsInVariablesRegressor as Regressor

pytestmark = [
    pytest.mark.thorough,  # each number of features is compiled for
    pytest.mark.filterwarnings(
        "ignore:The draws of NUTS are not to be trusted:sklearn.exceptions.ConvergenceWarning",
        "ignore:The features fit the target without error:sklearn.exceptions.ConvergenceWarning",
        "ignore:The stated errors look too small",
        "ignore:Can't check dok sparse matrix",
    ),
]


@parametrize_with_checks(
    [Regressor(inference="nuts", draws=40, chains=2, nuts_kwargs={"tune": 60}, random_state=0)],
    expected_failed_checks=lambda estimator: {
        "check_sample_weight_equivalence_on_dense_data": "more columns than rows: a spike without noise, where draws"
        " follow rounding"
    },
)
def test_common_check_passes(estimator: Regressor, check: Any) -> None:
    check(estimator)
