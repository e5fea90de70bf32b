"""The demo, ``python -m bayes_sklearn``: shares, errors in x and groups that are simulated, and a published table."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from inspect import signature
from textwrap import dedent, indent
from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import BayesianRidge, LinearRegression, Ridge
from sklearn.model_selection import BaseCrossValidator, KFold, LeaveOneOut, cross_validate
from sklearn.utils import Bunch

from .datasets import load_seeds, make_role_modeling
from .estimators.regressor import BayesianErrorsInVariablesRegressor
from .metrics.scorers import interval_coverage_scorer, log_predictive_density_scorer

FORMATS = {"messages": ",d", "log score": ".2f", "coverage": ".1%", "mean error": "+.4f"}

FORMATS |= dict.fromkeys(("RMSE", "RMSE to truth"), ".4f")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the demo; draw it, too, with ``--plot FILE``."""
    parser = argparse.ArgumentParser(prog="python -m bayes_sklearn", description="The demo of bayes_sklearn.")
    parser.add_argument("--plot", metavar="FILE", help="draw the fits into a file, by matplotlib")
    file = parser.parse_args(arguments).plot
    phones = make_role_modeling(200, random_state=0)
    model = BayesianErrorsInVariablesRegressor(weight_type="counts")
    model.fit(phones.data, phones.target, sample_weight=phones.counts)
    say(
        "Simulated phones",
        """
        200 phones. The target is the share of a phone's messages that are on topic. 1 of 10 and 10 of
        100 are the same share, but not equally certain; these phones have 2 to 1,000 messages.

            model = BayesianErrorsInVariablesRegressor(weight_type="counts")
            model.fit(X, share, sample_weight=messages)
            model.summary()

        The coefficients, with 95% intervals, beside the truth of the simulation:
        """,
        coefficients(model, phones),
    )
    say(
        "New phones",
        """
            model.predict_distribution(X_new, counts=messages_new).to_frame()

        The share to expect of a new phone, with 95% limits for what will be measured on so many
        messages, beside what came of it. With few messages a limit may lie outside 0 to 1: the noise
        is taken as normal.
        """,
        new_phones(model, make_role_modeling(8, random_state=1)),
    )
    say(
        "Cross-validation",
        """
        10 folds. All four models know the counts in training; only the first can use them for the phones
        held out, too. RMSE to the measured share is mostly the chance of phones with few messages, and to
        the true share the models are alike. What differs is what they say of their own error: the log
        score (mean log density; greater is better) and the coverage of 95% intervals. BayesianRidge takes
        all phones to be equally noisy. "-": no standard deviation is predicted.
        """,
        compare(phones, KFold(10, shuffle=True, random_state=0)),
    )
    say(
        "Errors at fitted or at observed shares",
        """
        2,000 phones. A share's error is taken at the fitted share (count_error="fitted", the default) or
        at the observed share. There, small shares look more certain than they are, and pull the fit down.
        """,
        fitted_and_observed(make_role_modeling(2000, random_state=0)),
    )
    tell_of_seeds()
    tell_of_errors_in_x()
    tell_of_groups()
    if file is not None:
        draw(model, file)
        print(f"The coefficients of the phones and the line through noisy readings are drawn in {file}.")


def readings() -> tuple[pd.DataFrame, pd.Series[float]]:
    """Return readings whose errors are as large as half their spread, and a target of slope 2."""
    rng = np.random.default_rng(0)
    true = rng.normal(size=150)
    y = pd.Series(1.0 + 2.0 * true + 0.3 * rng.normal(size=150), name="y")
    return pd.DataFrame({"x": true + 0.5 * rng.normal(size=150)}), y


def tell_of_errors_in_x() -> None:
    """Print the part of the demo that is about features with errors."""
    X, y = readings()
    fits = {
        "truth": [2.0, np.nan, np.nan],
        "X taken as exact": slope(BayesianErrorsInVariablesRegressor().fit(X, y)),
        "X_err=0.5": slope(BayesianErrorsInVariablesRegressor(random_state=0).fit(X, y, X_err=0.5)),
    }
    say(
        "Errors in x",
        """
        150 rows; x was measured with a standard error of 0.5, half the spread of its true values. Such
        errors flatten the line: a fit that takes x as exact is wrong, and sure of it.

            model.fit(X, y, X_err=0.5)

        The slope, with 95% intervals:
        """,
        pd.DataFrame.from_dict(fits, orient="index", columns=["mean", "lower_95%", "upper_95%"]),
    )


def tell_of_groups() -> None:
    """Print the part of the demo that is about rows in groups."""
    rng = np.random.default_rng(0)
    city, level = np.repeat(np.arange(12), 8), rng.normal(size=12)
    x = level[city] + rng.normal(size=96)
    y = 0.5 * x - 1.5 * level[city] + 0.3 * rng.normal(size=96)
    X = pd.DataFrame({"x": x, "city": [f"city {i}" for i in city]})
    fits = {
        "truth": [0.5, np.nan, np.nan],
        "cities left out": slope(BayesianErrorsInVariablesRegressor().fit(X[["x"]], y)),
        "group_column='city'": slope(BayesianErrorsInVariablesRegressor(group_column="city").fit(X, y)),
    }
    say(
        "Groups",
        """
        8 rows in each of 12 cities, which differ in y and in x. Taken as 96 rows on their own, they give a
        slope that mixes the one within cities with the one between them.

            BayesianErrorsInVariablesRegressor(group_column="city").fit(X, y)

        The slope, with 95% intervals:
        """,
        pd.DataFrame.from_dict(fits, orient="index", columns=["mean", "lower_95%", "upper_95%"]),
    )


def slope(model: BayesianErrorsInVariablesRegressor) -> list[float]:
    """Return the slope of x with its 95% interval."""
    table = summary(model)
    return [float(table[name]["x"]) for name in ("mean", "lower_95%", "upper_95%")]


def draw(phones: BayesianErrorsInVariablesRegressor, file: str) -> None:
    """Draw the coefficients of the phones, and the line through noisy readings, into a file."""
    from matplotlib.figure import Figure

    from .displays import CoefficientDisplay, RegressionLineDisplay

    figure = Figure(figsize=(10.0, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    CoefficientDisplay.from_estimator(phones, ax=left)
    X, y = readings()
    model = BayesianErrorsInVariablesRegressor(random_state=0).fit(X, y, X_err=0.5)
    RegressionLineDisplay.from_estimator(model, X, y, "x", X_err=0.5, ax=right)
    figure.savefig(file)


def tell_of_seeds() -> None:
    """Print the part of the demo that is about real data."""
    seeds = load_seeds(as_frame=True)
    model = BayesianErrorsInVariablesRegressor(weight_type="counts")
    model.fit(seeds.data, seeds.target, sample_weight=seeds.counts)
    say(
        "Real data: seeds that germinated",
        f"""
        21 plates of 4 to 81 seeds (Crowder 1978). Two types of seed, on extract of bean or of cucumber.
        Plates of one kind differ by more than chance: overdispersion_ is {model.overdispersion_:.3f}, the
        correlation of the seeds on a plate.
        """,
        summary(model),
    )
    say("", "Each plate in turn left out:", compare(seeds, LeaveOneOut()))


def summary(model: BayesianErrorsInVariablesRegressor) -> pd.DataFrame:
    """Return intercept and coefficients with 95% intervals."""
    return model.summary(coverage=0.95).loc[["intercept", *model.coef_names_]].drop(columns="sd")


def coefficients(model: BayesianErrorsInVariablesRegressor, phones: Bunch) -> pd.DataFrame:
    """Return intercept and coefficients with 95% intervals, beside the truth."""
    table = summary(model)
    table.insert(0, "truth", [phones.intercept, *phones.coef])
    return table


def new_phones(model: BayesianErrorsInVariablesRegressor, phones: Bunch) -> pd.DataFrame:
    """Return predictions with 95% limits, and what came of them."""
    predicted = model.predict_distribution(phones.data, counts=phones.counts).to_frame(coverage=0.95)
    table = predicted[["y_pred", "lower_95%", "upper_95%"]].assign(
        measured=phones.target, true_share=phones.true_share
    )
    table.insert(0, "messages", phones.counts)
    return table.rename(lambda i: f"phone {i + 1}")


def compare(data: Bunch, cv: BaseCrossValidator) -> pd.DataFrame:
    """Return the cross-validated scores of four models that all know the counts in training."""
    X, counts = data.data, data.counts
    # The counts as a column of X: they reach the scorers with their rows.
    X_counts = X.assign(counts=counts)
    rows = {
        "BayesianErrorsInVariablesRegressor": scores(
            BayesianErrorsInVariablesRegressor(count_column="counts"), X_counts, None, data, cv
        ),
        "BayesianRidge": scores(BayesianRidge(), X, counts / counts.mean(), data, cv),
        "Ridge": scores(Ridge(), X, counts, data, cv),
        "LinearRegression": scores(LinearRegression(), X, counts, data, cv),
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def scores(
    estimator: Any, X: pd.DataFrame, weight: pd.Series[float] | None, data: Bunch, cv: BaseCrossValidator
) -> dict[str, float]:
    """Return one model's scores on held-out rows."""
    scorers: dict[str, Any] = {}
    if "return_std" in signature(estimator.predict).parameters:
        scorers = {"log score": log_predictive_density_scorer, "coverage": interval_coverage_scorer}
    found = cross_validate(
        estimator,
        X,
        data.target,
        cv=cv,
        params={} if weight is None else {"sample_weight": weight},
        scoring=scorers or "neg_mean_squared_error",
        return_estimator=True,
        return_indices=True,
    )
    means = np.empty(len(X))
    for fitted, rows in zip(found["estimator"], found["indices"]["test"], strict=True):
        means[rows] = fitted.predict(X.iloc[rows])
    row = {"RMSE": rmse(means, data.target)}
    if "true_share" in data:
        row["RMSE to truth"] = rmse(means, data.true_share)
    return row | {name: float(found[f"test_{name}"].mean()) for name in scorers}


def fitted_and_observed(phones: Bunch) -> pd.DataFrame:
    """Return how far fits are from the true shares, by where errors are taken."""
    rows = {}
    for count_error, error_floor in (("fitted", 0.0), ("observed", 0.0), ("observed", 0.1)):
        model = BayesianErrorsInVariablesRegressor(
            weight_type="counts", count_error=count_error, error_floor=error_floor
        )
        model.fit(phones.data, phones.target, sample_weight=phones.counts)
        predicted = model.predict(phones.data)
        rows[f"{count_error}, error_floor={error_floor:g}"] = {
            "mean error": float(np.mean(predicted - phones.true_share)),
            "RMSE to truth": rmse(predicted, phones.true_share),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def rmse(predicted: Any, wanted: Any) -> float:
    """Return the root mean square difference."""
    return float(np.sqrt(np.mean(np.square(np.asarray(predicted) - np.asarray(wanted)))))


def say(title: str, text: str, table: pd.DataFrame) -> None:
    """Print a heading (if any), a text and a table."""
    if title:
        print(f"{title}\n{'-' * len(title)}")
    print(dedent(text).strip("\n") + "\n")
    print(indent(written(table).to_string(), "  "), end="\n\n")


def written(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table's numbers as text, "-" where there is none."""
    columns = {}
    for name in table:
        spec = FORMATS.get(str(name), ".3f")
        columns[name] = ["-" if np.isnan(value) else format(value, spec) for value in table[name]]
    return pd.DataFrame(columns, index=table.index)


if __name__ == "__main__":
    main()
