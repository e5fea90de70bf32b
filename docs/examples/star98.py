"""
Real shares: California's star98
================================

The share of pupils above the national median in mathematics, in 303 school districts. The data come with statsmodels
(``pip install statsmodels``), which documents their source and rights; they are not shipped here. Each district's
share has a count of pupils behind it, from 33 to 38,852: a good case for errors that follow from counts, and for
extra-binomial variation, since districts differ by more than their 20 features and chance explain.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import statsmodels.api as sm
from sklearn.linear_model import BayesianRidge
from sklearn.model_selection import KFold, cross_validate

from bayes_sklearn import BayesianErrorsInVariablesRegressor
from bayes_sklearn.metrics import SCORERS

data = sm.datasets.star98.load_pandas()
counts = data.endog.sum(axis=1)
share = data.endog["NABOVE"] / counts

# %%
# The counts go into a column of the table, so that they are split and scored along with their rows.

table = data.exog.assign(pupils=counts)
model = BayesianErrorsInVariablesRegressor(count_column="pupils")
model.fit(table, share)
print(model.summary(coverage=0.9).round(5).to_string())

# %%
# Two pupils of one district agree more than chance has it:

print(f"intraclass correlation {model.overdispersion_:.3f}")

# %%
# So a district of 10,000 pupils is far from 100 times as telling as one of 100: what it lies off the line by hardly
# falls with the count.

fitted = model.predict(table)
pupils = np.geomspace(counts.min(), counts.max(), 100)
p = share.mean()
fig, ax = plt.subplots(figsize=(7, 4), layout="constrained")
ax.plot(counts, share - fitted, "o", color="0.35", ms=3.5)
for rho, style, name in (
    (0.0, "--", "two standard errors, binomial"),
    (model.overdispersion_, "-", "with extra-binomial variation"),
):
    error = 2.0 * np.sqrt(p * (1.0 - p) * (rho + (1.0 - rho) / pupils))
    ax.plot(pupils, error, style, color="#0072b2", lw=2, label=name)
    ax.plot(pupils, -error, style, color="#0072b2", lw=2)
ax.set(xscale="log", xlabel="pupils of the district", ylabel="share less the fitted share")
ax.legend(loc="lower right")

# %%
# How good are the predictions for districts that were left out, and do their 95% intervals hold? ``BayesianRidge``
# gets the counts as weights, divided by their mean; its intervals don't know of them.

folds = KFold(10, shuffle=True, random_state=0)
shown = ["log_predictive_density", "neg_crps", "interval_coverage", "neg_interval_width"]
scoring = {name: SCORERS[name] for name in shown}
ours = cross_validate(model, table, share, cv=folds, scoring=scoring)
weights = {"sample_weight": counts / counts.mean()}
ridge = cross_validate(BayesianRidge(), data.exog, share, cv=folds, scoring=scoring, params=weights)
scores = {
    "BayesianErrorsInVariablesRegressor": [ours[f"test_{name}"].mean() for name in shown],
    "BayesianRidge": [ridge[f"test_{name}"].mean() for name in shown],
}
print(pd.DataFrame(scores, index=shown).T.round(3).to_string())
