"""
Displays of hard cases
======================

Twenty features with long names, 10,000 rows, outcomes that are 0 or 1, shares of few counts, limits, dark paper and
print without colours: what displays do then.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from bayes_sklearn import BayesianErrorsInVariablesRegressor, Normal
from bayes_sklearn.displays import (
    CoefficientDisplay,
    PredictionDisplay,
    RankDisplay,
    RegressionLineDisplay,
    VarianceDisplay,
)

rng = np.random.default_rng(0)

# %%
# Long names are broken into lines. A prior much wider than the posteriors is cut off, with its limits in the legend,
# so that these can be seen. The features' units differ by factors of a hundred thousand: on the axis they are
# standard deviations, in the column beside it their own.

names = [
    f"mean_monthly_{what}_of_{whom}_in_{year}"
    for what in ("consumption", "temperature", "precipitation", "income", "expenditure")
    for whom in ("households", "schools")
    for year in (2019, 2020)
]
units = np.geomspace(0.01, 1000.0, 20)
X = pd.DataFrame(rng.normal(size=(150, 20)) * units, columns=names)
y = X @ (rng.normal(size=20) * (rng.random(20) < 0.5) / units) + 0.5 * rng.normal(size=150)
vague = BayesianErrorsInVariablesRegressor(coef_prior=Normal(sigma=5.0)).fit(X, y)
CoefficientDisplay.from_estimator(vague)

# %%
# Of twenty parameters' ranks only those that leave the band are named. Two of them are distorted here, on purpose.

ranks = rng.random((200, 20))
ranks[:, [2, 7]] **= 1.6
RankDisplay(ranks, names).plot()

# %%
# Of 10,000 rows 300 are drawn, and squares are means of all: a curve would show in them.

many = pd.DataFrame({"x": rng.normal(size=10_000)})
y_err = rng.uniform(0.5, 2.0, 10_000)
bent = 1.0 + 2.0 * many["x"] + 0.3 * many["x"] ** 2 + y_err * rng.normal(size=10_000)
bent.name = "signal"
straight = BayesianErrorsInVariablesRegressor().fit(many, bent, y_err=y_err)
RegressionLineDisplay.from_estimator(straight, many, bent, y_err=y_err)

# %%
# Outcomes that are 0 or 1 would stand in two columns. Means of tenths of the rows are drawn against what was
# predicted, and bars say where they are, if that is right.

patients = pd.DataFrame({"dose": rng.normal(size=200), "age": rng.normal(size=200)})
chance = 1.0 / (1.0 + np.exp(-1.5 * patients["dose"] + patients["age"]))
survived = pd.Series(rng.binomial(1, chance), name="survived")
logistic = BayesianErrorsInVariablesRegressor(likelihood="binomial", random_state=0)
logistic.fit(patients, survived)

fig, axes = plt.subplots(1, 2, figsize=(11, 5), layout="constrained")
reliability = PredictionDisplay.from_estimator(logistic, patients, survived, ax=axes[0])
RegressionLineDisplay.from_estimator(logistic, patients, survived, "dose", ax=axes[1])

# %%
# Shares, of 0 and 1 too, have error bars that end there.

trials = rng.integers(1, 12, 200)
share = pd.Series(rng.binomial(trials, chance) / trials, name="share")
binomial = BayesianErrorsInVariablesRegressor(likelihood="binomial", weight_type="counts", random_state=0)
binomial.fit(patients, share, trials)

fig, axes = plt.subplots(1, 2, figsize=(11, 5), layout="constrained")
PredictionDisplay.from_estimator(binomial, patients, share, counts=trials, kind="rows", ax=axes[0])
line = RegressionLineDisplay.from_estimator(binomial, patients, share, "dose", counts=trials, ax=axes[1])

# %%
# Limits are arrows: below 0 and above 4 nothing was measured.

x = pd.DataFrame({"x": rng.normal(size=30)})
signal = 1.5 + 2.0 * x["x"] + 0.6 * rng.normal(size=30)
signal.name = "signal"
beyond = np.where(signal < 0.0, -1, np.where(signal > 4.0, 1, 0))
seen = signal.clip(0.0, 4.0)
limited = BayesianErrorsInVariablesRegressor(noise="additive", random_state=0).fit(
    x, seen, y_err=0.3, y_censored=beyond
)
RegressionLineDisplay.from_estimator(limited, x, seen, y_err=0.3, y_censored=beyond, grid_resolution=30)

# %%
# Displays take light and dark from the style. They hold what they drew, and ``plot`` draws it again.

parts = VarianceDisplay.from_estimator(limited, x, y_err=0.3)
plt.close(parts.figure_)
with plt.style.context("dark_background"):
    fig, axes = plt.subplots(1, 3, figsize=(15, 4.8), layout="constrained")
    for display, ax in zip((line, reliability, parts), axes, strict=True):
        display.plot(ax)

# %%
# They need no colours: this is the picture as a printer without them has it.

fig, axes = plt.subplots(1, 3, figsize=(15, 4.8), layout="constrained")
for display, ax in zip((line, reliability, parts), axes, strict=True):
    display.plot(ax)
fig.canvas.draw()
red, green, blue = np.moveaxis(np.asarray(fig.canvas.buffer_rgba())[..., :3], -1, 0)
plt.close(fig)
sheet = plt.figure(figsize=(15, 4.8)).add_axes((0, 0, 1, 1))
sheet.imshow(0.299 * red + 0.587 * green + 0.114 * blue, cmap="gray", vmin=0, vmax=255, aspect="auto")
sheet.set_axis_off()
