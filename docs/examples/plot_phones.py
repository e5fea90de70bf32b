"""
Shares with counts behind them
==============================

Which phones are used for the topic? Each row is a phone. Its features say how it lies in the network of calls and
messages, and the target is the share of its messages that are on topic. One phone has sent 3 messages, another 900:
1 of 3 and 300 of 900 are the same share, but not equally certain. The phones are simulated, so that what is found can
be held against the truth.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.linear_model import Ridge

from bayes_sklearn import BayesianErrorsInVariablesRegressor
from bayes_sklearn.datasets import make_role_modeling

phones = make_role_modeling(random_state=0)
phones.frame.head().round(3)

# %%
# The fewer messages, the further shares lie from what is true of the phone. Most of the outliers are no outliers:
# they are phones with few messages.

deviation = phones.target - phones.true_share
count = np.geomspace(2, 1000, 200)
expected = 2.0 * np.sqrt(0.15 * 0.85 / count)

fig, ax = plt.subplots(figsize=(7, 4), layout="constrained")
ax.fill_between(
    count, -expected, expected, color="tab:blue", alpha=0.15, lw=0, label="two binomial standard errors"
)
ax.scatter(phones.counts, deviation, s=14, color="tab:blue", label="phones")
ax.axhline(0.0, color="black", lw=0.8)
ax.set(xscale="log", xlabel="messages of the phone", ylabel="observed share less true share")
ax.set_xticks([2, 10, 100, 1000], ["2", "10", "100", "1000"])
ax.legend()

# %%
# The fit takes the counts as ``sample_weight``. ``weight_type="counts"`` says that they are counts, and not how often
# each row is there. It is exact, and takes milliseconds.

model = BayesianErrorsInVariablesRegressor(weight_type="counts")
model.fit(phones.data, phones.target, sample_weight=phones.counts)
model.summary().round(3)

# %%
# Each coefficient has a credible interval. ``Ridge`` with the counts as weights has an estimate alone. The features
# are on different scales, so coefficients are shown per standard deviation of their feature. Betweenness has no
# effect of its own, but is correlated with degree: its interval holds 0, as it should.

ridge = Ridge().fit(phones.data, phones.target, sample_weight=phones.counts)
spread = phones.data.std().to_numpy()
table = model.summary().loc[phones.feature_names]
place = np.arange(len(table))

fig, ax = plt.subplots(figsize=(7, 3.2), layout="constrained")
ax.hlines(place, table["lower_95%"] * spread, table["upper_95%"] * spread, color="tab:blue", lw=3, alpha=0.5)
ax.plot(model.coef_ * spread, place, "o", color="tab:blue", label="posterior mean and 95% interval")
ax.plot(phones.coef * spread, place, "kx", ms=9, mew=2, label="truth")
ax.plot(ridge.coef_ * spread, place - 0.18, "s", color="tab:orange", ms=5, label="Ridge")
ax.axvline(0.0, color="black", lw=0.8)
ax.set(yticks=place, xlabel="change of the share per standard deviation of the feature", ylim=(3.5, -0.6))
ax.set_yticklabels([name.replace("_", " ") for name in phones.feature_names])
fig.legend(loc="outside upper center", ncols=3)

# %%
# What will new phones show? That depends on how many messages one will see of them. ``counts`` says so.

new = make_role_modeling(1000, random_state=1)
limits = model.predict_interval(new.data, counts=new.counts)
pd.DataFrame(
    {
        "messages": new.counts,
        "predicted": model.predict(new.data),
        "lower": limits[:, 0],
        "upper": limits[:, 1],
        "observed": new.target,
    }
).head().round(3)

# %%
# In means ``Ridge`` is as good, here a little better: counts as weights are what least squares needs. (Many such
# tables are in :doc:`the calibration tables </calibration>`.) But intervals have to know the counts of the new
# phones, too. Without them the best one can do is one width for all, such as the spread of the
# training residuals: too narrow for phones with few messages, far too wide for those with many.

residual = phones.target - ridge.predict(phones.data)
one_width = 2.0 * 1.96 * residual.std()
away = np.abs(new.target - ridge.predict(new.data))
by_count = pd.cut(
    new.counts, [0, 10, 30, 100, 300, 1000], labels=["2-10", "11-30", "31-100", "101-300", "301-1000"]
)
found = pd.DataFrame(
    {
        "covered": (limits[:, 0] <= new.target) & (new.target <= limits[:, 1]),
        "covered by Ridge": away <= one_width / 2.0,
        "width": limits[:, 1] - limits[:, 0],
        "width of Ridge": one_width,
    }
)
found = found.groupby(by_count, observed=True).mean()


def rmse(predicted):
    """Root mean square error to the true share."""
    return float(np.sqrt(np.mean((predicted - new.true_share) ** 2)))


print(
    f"RMSE to the true share: {rmse(model.predict(new.data)):.4f}, Ridge {rmse(ridge.predict(new.data)):.4f}"
)

fig, axes = plt.subplots(2, 1, figsize=(7, 5), sharex=True, layout="constrained")
axes[0].plot(found["covered"], "o-", color="tab:blue", label="with counts")
axes[0].plot(found["covered by Ridge"], "s-", color="tab:orange", label="Ridge, spread of its residuals")
axes[0].axhline(0.95, color="black", lw=0.8, ls="--", label="nominal")
axes[0].set(ylabel="share of new phones in\ntheir 95% interval", ylim=(0.8, 1.02))
axes[0].legend(loc="lower right")
axes[1].plot(found["width"], "o-", color="tab:blue")
axes[1].plot(found["width of Ridge"], "s-", color="tab:orange")
axes[1].set(xlabel="messages of the new phone", ylabel="mean width of the interval", ylim=(0.0, None))
