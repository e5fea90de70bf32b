"""California's star98: real shares with counts, held against statsmodels."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from bayes_sklearn import Flat

from plain import Regressor
from star98 import load_star98

sm = pytest.importorskip("statsmodels.api")


def test_flat_priors_find_weighted_least_squares() -> None:
    X, share, counts = load_star98()
    y_err = np.sqrt(share.mean() * (1.0 - share.mean()) / counts) + 0.05
    design = sm.add_constant(X)
    peer = sm.WLS(share, design, weights=1.0 / y_err**2).fit()
    flat = {"coef_prior": Flat(), "intercept_prior": Flat(), "noise_prior": Flat()}
    model = Regressor(**flat).fit(X, share, y_err=y_err)
    assert_allclose(np.append(model.intercept_, model.coef_), peer.params, rtol=1e-6)
    # p(s) flat, not 1 / s: the posterior is a t distribution with one degree of freedom less than WLS's.
    freedom = len(share) - design.shape[1] - 1
    spread = np.sqrt((freedom + 1) / (freedom - 2))
    assert_allclose(model.coef_std_, peer.bse.to_numpy()[1:] * spread, rtol=1e-6)
    known = Regressor(**flat, noise="known").fit(X, share, y_err=y_err)
    assert_allclose(known.coef_std_, peer.bse.to_numpy()[1:] / np.sqrt(peer.scale), rtol=1e-6)


def test_districts_vary_by_more_than_their_counts_explain() -> None:
    X, share, counts = load_star98()
    model = Regressor(weight_type="counts").fit(X, share, sample_weight=counts)
    assert 0.01 < model.overdispersion_ < 0.05
    # With that variation stated, the errors need next to no rescaling.
    assert 0.9 < model.noise_scale_ < 1.1
    inside = model.predict_interval(X, 0.9, counts=counts)
    covered = np.mean((inside[:, 0] < share) & (share < inside[:, 1]))
    assert 0.86 < covered < 0.96


def test_the_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    example = Path(__file__).parents[2] / "docs" / "examples" / "star98.py"
    runpy.run_path(str(example), run_name="__main__")
    printed = capsys.readouterr().out
    assert "LOWINC" in printed
    assert "BayesianRidge" in printed
