"""
Every display
=============

What ``bayes_sklearn.displays`` draws, and what to look for. Colours are those that colour-blind people can tell
apart, and markers, lines and hatching say the same without them.
"""

import numpy as np
import pandas as pd

from bayes_sklearn import BayesianErrorsInVariablesRegressor, Normal, compare_methods
from bayes_sklearn.displays import (
    AuditDisplay,
    BlandAltmanDisplay,
    CalibrationDisplay,
    CoefficientDisplay,
    ForestDisplay,
    InverseDisplay,
    MethodComparisonDisplay,
    PITDisplay,
    PredictionDisplay,
    RankDisplay,
    RegressionLineDisplay,
    VarianceDisplay,
)

rng = np.random.default_rng(2)
n = 100
X = pd.DataFrame({"length": rng.normal(10, 2, n), "mass": rng.normal(3, 1, n), "age": rng.normal(40, 9, n)})
y_err = rng.uniform(0.3, 1.5, n)
force = 2.0 + 0.8 * X["length"] - 1.5 * X["mass"] + y_err * rng.normal(size=n)
force.name = "force"
model = BayesianErrorsInVariablesRegressor(coef_prior=Normal(), noise="scaled")
model.fit(X, force, y_err=y_err)

# %%
# Coefficients per standard deviation of their feature can be compared, with each other and with their prior. Beside
# them are the numbers of ``summary()``, per unit of the feature. Where a posterior is as wide
# as its prior, the data say nothing of that coefficient.

CoefficientDisplay.from_estimator(model)

# %%
# The line in one feature, with what the others do taken out of the points. Look for curves that it misses.

RegressionLineDisplay.from_estimator(model, X, force, "mass", y_err=y_err)

# %%
# Predictions and their intervals: as many misses as the coverage says, and not all in one place.

PredictionDisplay.from_estimator(model, X, force, y_err=y_err)

# %%
# Whether intervals of all coverages hold: a curve in the band.

CalibrationDisplay.from_estimator(model, X, force, y_err=y_err)

# %%
# Where measurements lie in what was predicted: bars of one height. A hump says that predictions are too wide, a bowl
# that they are too narrow.

PITDisplay.from_estimator(model, X, force, y_err=y_err)

# %%
# What the variance of a new measurement is made of, and so what would make it smaller: more rows, or better
# measurements. The standard deviation is above each bar.

VarianceDisplay.from_estimator(model, X, y_err=y_err, by=y_err, by_name="standard error")

# %%
# Whether the stated errors are right: points at 1.

AuditDisplay.from_estimator(model, X, force, y_err=y_err)

# %%
# Whether posteriors of data that are simulated from the model hold their true values: curves in the band.

RankDisplay.from_estimator(model, X, force, y_err=y_err, n_simulations=100, random_state=0)

# %%
# Studies, and what all of them say of each, and of a new one.

studies = pd.DataFrame({"study": [f"Trial {i}" for i in range(1, 11)]})
error = rng.uniform(0.1, 0.5, 10)
effect = pd.Series(0.4 + 0.2 * rng.normal(size=10) + error * rng.normal(size=10), name="log odds ratio")
pooled = BayesianErrorsInVariablesRegressor(group_column="study", noise="known")
pooled.fit(studies, effect, y_err=error)
ForestDisplay.from_estimator(pooled, studies, effect, y_err=error)

# %%
# A calibration curve read backwards: from readings to the concentrations behind them.

standards = pd.DataFrame({"concentration": np.repeat(np.linspace(0.0, 10.0, 6), 2)})
absorption = 1.0 + 2.0 * standards["concentration"] + 0.8 * rng.normal(size=12)
curve = BayesianErrorsInVariablesRegressor().fit(standards, absorption)
InverseDisplay.from_estimator(curve, [[6.0], [14.0]])

# %%
# Two methods that measured the same samples: where the line leaves that on which both agree, ...

true = rng.uniform(2.0, 10.0, 40)
compared = compare_methods(
    true + 0.3 * rng.normal(size=40),
    0.2 + 1.05 * true + 0.3 * rng.normal(size=40),
    x_err=0.3,
    y_err=0.3,
    levels=[3.0, 7.0],
    names=("laboratory", "meter"),
    random_state=0,
)
MethodComparisonDisplay.from_comparison(compared)

# %%
# ... and how far single readings lie apart.

BlandAltmanDisplay.from_comparison(compared)
