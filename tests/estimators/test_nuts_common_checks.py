"""scikit-learn's common checks of an estimator that samples: few draws, for the checks are about everything else."""

from __future__ import annotations

from typing import Any

import pytest
from sklearn.utils.estimator_checks import estimator_checks_generator

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

SAMPLED = Regressor(inference="nuts", draws=40, chains=2, nuts_kwargs={"tune": 60}, random_state=0)
# Of 4, 5 and 30 features, which no other check has, and of what is done before an engine is chosen
# (`test_common_checks.py`); the last has more columns than rows: a spike without noise, where draws follow rounding.
ELSEWHERE = {
    "check_n_features_in_after_fitting",
    "check_positive_only_tag_during_fit",
    "check_regressors_no_decision_function",
    "check_estimators_dtypes",
    "check_sample_weight_equivalence_on_dense_data",
}
CHECKS = {check.func.__name__: check for _, check in estimator_checks_generator(SAMPLED, legacy=True)}


def test_checks_that_are_left_out_are_there() -> None:
    assert set(CHECKS) > ELSEWHERE


@pytest.mark.parametrize("name", [name for name in CHECKS if name not in ELSEWHERE])
def test_common_check_passes(name: str) -> None:
    check: Any = CHECKS[name]
    check(SAMPLED)
