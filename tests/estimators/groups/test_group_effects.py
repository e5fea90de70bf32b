"""What a fit with groups hands out agrees with itself: tables, draws, PyMC's model, scores."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from bayes_sklearn import BayesianErrorsInVariablesRegressor
from bayes_sklearn.validation.calibration import simulation_based_calibration

from people import fitted_people, people


def test_draws_are_of_the_tables_and_of_predictions() -> None:
    model, (frame, y, error) = fitted_people(), people()
    data = model.to_arviz(frame, y, y_err=error)
    posterior, effects = data.posterior, model.group_effects_
    # 4,000 draws: a mean is off by 4.5 standard errors once in 1e5.
    off = 4.5 / np.sqrt(4000.0)
    for variable, grouping, term in (
        ("effect_person", "person", "intercept"),
        ("effect_person_days", "person", "days"),
        ("effect_lab", "lab", "intercept"),
    ):
        own = effects.loc[grouping].xs(term, level="term")
        drawn = np.asarray(posterior[variable]).reshape(4000, -1)
        assert (np.abs(drawn.mean(axis=0) - own["mean"]) < off * own["sd"] * 1.1).all()
        assert_allclose(drawn.std(axis=0), own["sd"], rtol=0.12)
    assert list(np.asarray(posterior["person"])) == sorted(set(frame["person"]))
    # A line that is made of these draws is the one that the predictive draws have.
    coef, intercept = np.asarray(posterior["coef"])[0, :, 0], np.asarray(posterior["intercept"])[0]
    lines = intercept + coef * frame["days"].iloc[8]
    at = frame["days"].iloc[8] - frame["days"].mean()
    person, lab = frame["person"].iloc[8], str(frame["lab"].iloc[8])
    lines = lines + np.asarray(posterior["effect_person"].sel(person=person))[0]
    lines = lines + at * np.asarray(posterior["effect_person_days"].sel(person=person))[0]
    lines = lines + np.asarray(posterior["effect_lab"].sel(lab=lab))[0]
    log_density = np.asarray(data.log_likelihood["y"])[0, :, 8]
    z = (y.iloc[8] - lines) / error[8]
    assert_allclose(log_density, -0.5 * z**2 - np.log(error[8] * np.sqrt(2.0 * np.pi)), rtol=1e-8, atol=1e-8)


@pytest.mark.thorough
def test_pymc_s_model_is_the_one_that_is_integrated() -> None:
    import pymc as pm

    model, (frame, y, error) = fitted_people(), people()
    with model.to_pymc(frame, y, y_err=error):
        draws = pm.sample(
            1000,
            tune=1000,
            chains=2,
            cores=1,
            random_seed=1,
            nuts_sampler="nutpie",
            target_accept=0.95,
            progressbar=False,
        ).posterior
    effects, summary = model.group_effects_, model.summary()
    # Draws are worth 400 at least: 5 standard errors.
    for grouping, term, name in (("person", "intercept", "person"), ("person", "days", "person_days")):
        own = effects.loc[grouping].xs(term, level="term")
        mean = np.asarray(draws[f"effect_{name}"].mean(("chain", "draw")))
        assert (np.abs(mean - own["mean"]) < 0.25 * own["sd"]).all()
    for name, row in (("person", "person"), ("person_days", "person, days"), ("lab", "lab")):
        own = summary.loc[f"group_std[{row}]"]
        assert abs(float(draws[f"group_std_{name}"].mean()) - own["mean"]) < 0.25 * own["sd"]


@pytest.mark.thorough
@pytest.mark.parametrize("case", ["known", "scaled", "slopes", "crossed"])
def test_true_values_rank_evenly(case: str) -> None:
    """Under the model itself: a false alarm once in 1,000 of each case."""
    frame, _, error = people()
    frame = frame.iloc[::2].reset_index(drop=True)
    given = {"y_err": error[::2] / 12.0} if case == "known" else {}
    columns = {"crossed": ["person", "lab"]}.get(case, "person")
    model = BayesianErrorsInVariablesRegressor(
        group_column=columns,
        group_slopes={"person": "days"} if case == "slopes" else None,
        noise="known" if case == "known" else "auto",
    )
    X = frame if case == "crossed" else frame[["days", "person"]]
    found = simulation_based_calibration(model, X, n_simulations=150, random_state=0, **given)
    assert found.p_value > 1e-3
