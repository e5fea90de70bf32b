"""
A line through points with error bars in x
==========================================

An error in a feature does not cancel out: it pulls the slope towards zero, the more the larger it is beside the
feature's own spread. How large errors are is often known, from the data sheet of an instrument or from repeated
readings. Then the slope can be put right.
"""

import matplotlib.pyplot as plt
import numpy as np

from bayes_sklearn import BayesianErrorsInVariablesRegressor

rng = np.random.default_rng(1)
n = 60
true_x = rng.normal(5.0, 1.5, n)
x_err = rng.uniform(0.6, 1.4, n)
y_err = rng.uniform(0.3, 0.8, n)
x = true_x + x_err * rng.normal(size=n)
y = 1.0 + 2.0 * true_x + y_err * rng.normal(size=n)

# %%
# The same data, fitted as if x were exact, and with its errors stated. No model is compiled for either.

naive = BayesianErrorsInVariablesRegressor()
naive.fit(x[:, None], y, y_err=y_err)
corrected = BayesianErrorsInVariablesRegressor(random_state=0)
corrected.fit(x[:, None], y, y_err=y_err, X_err=x_err[:, None])
corrected.summary().round(2)

# %%
# About a third of the variance of x is error, as its ``reliability`` says, and about a third of the slope is what the
# naive fit loses. The true slope is 2.

line = np.linspace(0.0, 10.0, 100)
fig, ax = plt.subplots(figsize=(7, 5), layout="constrained")
ax.errorbar(
    x, y, y_err, x_err, "o", color="0.45", ecolor="0.8", ms=4, lw=1, label="measured, with standard errors"
)
for model, color, style, name in (
    (naive, "tab:orange", "-.", "x taken as exact"),
    (corrected, "tab:blue", "-", "errors of x stated"),
):
    low, high = model.predict_interval(line[:, None], X_err=0.0, include_noise=False).T
    label = f"{name}: slope {model.coef_[0]:.2f} ± {model.coef_std_[0]:.2f}"
    ax.fill_between(line, low, high, color=color, alpha=0.2, lw=0)
    ax.plot(line, model.predict(line[:, None], X_err=0.0), style, color=color, lw=2, label=label)
ax.plot(line, 1.0 + 2.0 * line, "k--", lw=1.2, label="truth: slope 2")
ax.set(xlabel="x", ylabel="y", xlim=(0, 10))
ax.legend(loc="upper left")

# %%
# The corrected line is that of y on the *true* x, for which ``X_err=0`` stands. A new x is mostly a reading, too, of
# the same instrument. A high reading is more likely to be one that came out too high, so that predictions bend back
# to the mean and are wider. That is what ``predict`` does: new rows are taken to be measured as those of the fit,
# with their root mean square error of about 1.

at_true = corrected.predict_interval(line[:, None], X_err=0.0)
at_reading = corrected.predict_interval(line[:, None])

fig, ax = plt.subplots(figsize=(7, 4), layout="constrained")
ax.fill_between(line, *at_reading.T, color="tab:green", alpha=0.2, lw=0)
ax.plot(
    line,
    corrected.predict(line[:, None]),
    "--",
    color="tab:green",
    lw=2,
    label="at a reading",
)
ax.fill_between(line, *at_true.T, color="tab:blue", alpha=0.3, lw=0)
ax.plot(line, corrected.predict(line[:, None], X_err=0.0), color="tab:blue", lw=2, label="at a true x")
ax.set(xlabel="new x", ylabel="new y, with 95% limits", xlim=(0, 10))
ax.legend(loc="upper left")

# %%
# How often do the limits hold? Over many new readings:

new_true = rng.normal(5.0, 1.5, 4000)
new_x = (new_true + rng.uniform(0.6, 1.4, 4000) * rng.normal(size=4000))[:, None]
new_y = 1.0 + 2.0 * new_true + 0.5 * rng.normal(size=4000)
for name, error in (("taken as true", 0.0), ("as readings", None)):
    low, high = corrected.predict_interval(new_x, y_err=0.5, X_err=error).T
    inside = np.mean((low < new_y) & (new_y < high))
    rmse = np.sqrt(np.mean((new_y - corrected.predict(new_x, X_err=error)) ** 2))
    print(f"{name:14} 95% limits hold {inside:.0%}, root mean square error {rmse:.2f}")
