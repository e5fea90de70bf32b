"""Tables of groups name what they are of."""

from __future__ import annotations

import pytest

from bayes_sklearn import BayesianErrorsInVariablesRegressor

from people import fitted_people


def test_tables_name_what_they_are_of() -> None:
    model = fitted_people()
    assert model.group_std_.index.tolist() == ["person", "person, days", "lab"]
    effects = model.group_effects_
    assert effects.index.names == ["grouping", "group", "term"]
    assert len(effects) == 12 + 12 + 4
    assert effects.columns.tolist() == ["mean", "sd", "lower_95%", "upper_95%"]
    assert "group_std[person, days]" in model.summary().index
    with pytest.raises(AttributeError, match="without group_column"):
        _ = BayesianErrorsInVariablesRegressor().fit([[0.0], [1.0], [2.5]], [0.0, 1.0, 2.0]).group_std_
