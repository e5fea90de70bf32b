"""
Real shares: California's star98
================================

The share of pupils above the national median in mathematics, in 303 school districts. The data come with statsmodels
(``pip install statsmodels``), which documents their source and rights; they are not shipped here. Each district's
share has a count of pupils behind it, from 33 to 38,852: a good case for errors that follow from counts, and for
extra-binomial variation, since districts differ by more than their 20 features and chance explain.
"""

import matplotlib.pyplot as plt
import pandas as pd
import statsmodels.api as sm
from sklearn.linear_model import BayesianRidge
from sklearn.model_selection import KFold, cross_validate

from bayes_sklearn import BayesianErrorsInVariablesRegressor
from bayes_sklearn.displays import CalibrationDisplay, CoefficientDisplay, VarianceDisplay
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
# What each feature does, per standard deviation, beside the numbers of the table. The names are those of the data
# set: LOWINC, for one, is the percentage of pupils from families with a low income.

CoefficientDisplay.from_estimator(model, coverage=0.9)

# %%
# Pupils of one district are correlated:

print(f"intraclass correlation {model.overdispersion_:.3f}")

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

# %%
# In two pictures, of a fit to every other district and its predictions for those between. Intervals hold somewhat
# more than they claim, and none much less. How many pupils a district has hardly matters for the error of its
# prediction: districts differ, and that is most of it.

half = table.index % 2 == 0
first = BayesianErrorsInVariablesRegressor(count_column="pupils").fit(table[half], share[half])
fig, axes = plt.subplots(1, 2, figsize=(11.5, 5.2), layout="constrained")
CalibrationDisplay.from_estimator(first, table[~half], share[~half], ax=axes[0])
pupils = table.loc[~half, "pupils"]
VarianceDisplay.from_estimator(first, table[~half], by=pupils, ax=axes[1])
