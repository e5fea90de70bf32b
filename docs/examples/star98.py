"""California's star98: 303 school districts, their share of pupils above the national median in mathematics.

The data come with statsmodels (``pip install statsmodels``), which documents their source and rights; they are not
shipped here. Each district's share has a count of pupils behind it, from 33 to 38,852: a good case for errors that
follow from counts, and for extra-binomial variation, since districts differ by more than their 20 features and chance
explain.

Run it with ``python docs/examples/star98.py``.
"""

from __future__ import annotations

import pandas as pd
import statsmodels.api as sm
from sklearn.linear_model import BayesianRidge
from sklearn.model_selection import KFold, cross_validate

from bayes_sklearn import BayesianErrorsInVariablesRegressor, Normal
from bayes_sklearn.metrics import SCORERS

SHOWN = ["log_predictive_density", "neg_crps", "interval_coverage", "neg_interval_width"]


def main() -> None:
    """Fit, tell what was found, and compare by cross-validation."""
    data = sm.datasets.star98.load_pandas()
    counts = data.endog.sum(axis=1)
    share = data.endog["NABOVE"] / counts
    table = data.exog.assign(pupils=counts)

    model = BayesianErrorsInVariablesRegressor(count_column="pupils", coef_prior=Normal(sigma=0.5))
    model.fit(table, share)
    print(model.summary(coverage=0.9).round(5).to_string())
    print(
        f"\nTwo pupils of one district agree more than chance has it: intraclass correlation"
        f" {model.overdispersion_:.3f}.\n"
    )

    folds = KFold(10, shuffle=True, random_state=0)
    scoring = {name: SCORERS[name] for name in SHOWN}
    ours = cross_validate(model, table, share, cv=folds, scoring=scoring)
    weights = {"sample_weight": counts / counts.mean()}
    ridge = cross_validate(BayesianRidge(), data.exog, share, cv=folds, scoring=scoring, params=weights)
    scores = {
        "BayesianErrorsInVariablesRegressor": [ours[f"test_{name}"].mean() for name in SHOWN],
        "BayesianRidge": [ridge[f"test_{name}"].mean() for name in SHOWN],
    }
    print(pd.DataFrame(scores, index=SHOWN).T.round(3).to_string())


if __name__ == "__main__":
    main()
