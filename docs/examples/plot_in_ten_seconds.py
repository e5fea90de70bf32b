"""
In ten seconds
==============

What stating errors changes. To the left a line through points with errors in both directions: least squares takes x
as exact, and its slope is too flat. To the right shares of 10 trials and of 1,000: the interval of a new one knows
how many trials there will be.
"""

import matplotlib.pyplot as plt
import numpy as np

from bayes_sklearn import BayesianErrorsInVariablesRegressor

rng = np.random.default_rng(1)
true_x = rng.normal(5.0, 1.5, 60)
x_err, y_err = rng.uniform(0.6, 1.4, 60), rng.uniform(0.3, 0.8, 60)
x = true_x + x_err * rng.normal(size=60)
y = 1.0 + 2.0 * true_x + y_err * rng.normal(size=60)
line = np.linspace(0.0, 10.0, 100)[:, None]

fig, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
left.errorbar(x, y, y_err, x_err, "o", color="0.45", ecolor="0.8", ms=3.5, lw=0.9)
for errors, color, style, name in (
    (None, "#d55e00", "--", "x taken as exact"),
    (x_err, "#0072b2", "-", "errors of x stated"),
):
    model = BayesianErrorsInVariablesRegressor(random_state=0)
    model.fit(x[:, None], y, y_err=y_err, X_err=errors)
    low, high = model.predict_interval(line, X_err=0.0, include_noise=False).T
    label = f"{name}: slope {model.coef_[0]:.1f} ± {model.coef_std_[0]:.1f}"
    left.fill_between(line[:, 0], low, high, color=color, alpha=0.2, lw=0)
    left.plot(line, model.predict(line, X_err=0.0), style, color=color, lw=2, label=label)
left.plot(line, 1.0 + 2.0 * line, ":", color="black", lw=1.5, label="truth: slope 2")
left.set(title="A line with errors in x and y", xlabel="x", ylabel="y", xlim=(0.0, 10.0))
left.legend(loc="upper left", fontsize=8)

# Shares whose log odds are linear in one feature, some of 10 trials and some of 1,000.
feature = rng.uniform(-3.0, 3.0, 120)
trials = np.where(rng.random(120) < 0.5, 10, 1000)
share = rng.binomial(trials, 1.0 / (1.0 + np.exp(1.0 - feature))) / trials
model = BayesianErrorsInVariablesRegressor(likelihood="binomial", weight_type="counts", random_state=0)
model.fit(feature[:, None], share, sample_weight=trials)
grid = np.linspace(-3.0, 3.0, 200)[:, None]
for count, color, marker in ((10, "#56b4e9", "o"), (1000, "#0072b2", "s")):
    low, high = model.predict_interval(grid, counts=count).T
    right.fill_between(
        grid[:, 0], low, high, step="mid", color=color, alpha=0.4, lw=0, label=f"95% of shares of {count}"
    )
    rows = trials == count
    right.plot(feature[rows], share[rows], marker, color=color, ms=4, mec="0.25", mew=0.6)
right.set(title="Shares with counts behind them", xlabel="feature", ylabel="share")
right.legend(loc="upper left", fontsize=8)
