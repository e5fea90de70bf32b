"""
Can the error bars be trusted?
==============================

Two questions. Are the errors that were stated right? And do predicted intervals hold? Here are phones whose messages
come in conversations, so that those of one phone are correlated. A count of messages is then worth fewer
independent ones.
"""

import matplotlib.pyplot as plt

from bayes_sklearn import BayesianErrorsInVariablesRegressor, audit_errors
from bayes_sklearn.datasets import make_role_modeling
from bayes_sklearn.displays import AuditDisplay, CalibrationDisplay, PITDisplay, PredictionDisplay

phones = make_role_modeling(400, messages=(30, 1000), overdispersion=0.02, random_state=0)
new = make_role_modeling(400, messages=(30, 1000), overdispersion=0.02, random_state=1)

# %%
# An audit looks at the errors as stated, here by the counts. Were they right, rows would lie one standard error from
# the line in root mean square, whatever their count.

model = BayesianErrorsInVariablesRegressor(weight_type="counts")
model.fit(phones.data, phones.target, sample_weight=phones.counts)
audit = audit_errors(model, phones.data, phones.target, phones.counts)
print(audit)

# %%
# A picture of it: with many messages a binomial error is tiny, and the other variation shows.

AuditDisplay.from_estimator(model, phones.data, phones.target, phones.counts)

# %%
# By default the fit finds this variation and allows for it (``overdispersion_``). What would have happened without?
# With ``noise="known"`` the errors are taken as they are.

believing = BayesianErrorsInVariablesRegressor(weight_type="counts", noise="known")
believing.fit(phones.data, phones.target, sample_weight=phones.counts)

fig, axes = plt.subplots(1, 2, figsize=(10, 5.8), layout="constrained")
for ax, fitted, title in ((axes[0], model, "the default"), (axes[1], believing, 'noise="known"')):
    CalibrationDisplay.from_estimator(fitted, new.data, new.target, counts=new.counts, ax=ax)
    ax.set_title(title)

# %%
# With no phones to hold out, those of the fit will do, each predicted from the others: the audit has their
# leave-one-out transforms. Bars of one height say that predictions are calibrated; a hump that they are too wide, a
# bowl that they are too narrow.

fig, axes = plt.subplots(1, 2, figsize=(10, 4.4), sharey=True, layout="constrained")
for ax, fitted, title in ((axes[0], model, "the default"), (axes[1], believing, 'noise="known"')):
    judged = audit_errors(fitted, phones.data, phones.target, phones.counts)
    PITDisplay(judged.pit).plot(ax)
    ax.set_title(title)

# %%
# And the predictions for new phones themselves.

PredictionDisplay.from_estimator(model, new.data, new.target, counts=new.counts)
