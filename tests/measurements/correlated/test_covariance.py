"""What `y_cov` and `y_shared_err` may be, and what they go with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import sparse
from sklearn.model_selection import cross_val_score

from bayes_sklearn import BayesianErrorsInVariablesRegressor as Regressor
from bayes_sklearn import BayesianErrorsInVariablesRegressorCV, audit_errors
from bayes_sklearn.measurements.compressed import Rows
from bayes_sklearn.measurements.correlated.covariance import Covariance
from bayes_sklearn.priors import Laplace

N = 12
X = np.random.default_rng(0).normal(size=(N, 2))
Y = X @ [1.0, -1.0] + np.random.default_rng(1).normal(size=N)
ERROR = np.linspace(0.5, 1.0, N)
V = np.diag(ERROR**2) + 0.1
L = np.full(N, 0.3)


def changed(place: tuple[int, int], value: float) -> Any:
    matrix = V.copy()
    matrix[place] = value
    return matrix


def of_eigenvalue(value: float) -> Any:
    """Return a covariance one of whose eigenvalues is this."""
    vectors = np.linalg.qr(np.random.default_rng(2).normal(size=(N, N)))[0]
    return (vectors * np.append(np.ones(N - 1), value)) @ vectors.T


BAD: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "too small": (
        {"y_cov": V[:5, :5]},
        ValueError,
        r"y_cov must have .* \(12, 12\), got \(5, 5\).* cross-valid",
    ),
    "no square": ({"y_cov": V[:5]}, ValueError, r"y_cov must have .* got \(5, 12\)"),
    "a vector": ({"y_cov": ERROR}, ValueError, r"y_cov must have .* got \(12,\)"),
    "words": ({"y_cov": "none"}, TypeError, "y_cov must be an array of numbers"),
    "complex": ({"y_cov": sparse.csr_array(V * 1j)}, TypeError, "y_cov must have real numbers"),
    "nan": ({"y_cov": changed((2, 3), np.nan)}, ValueError, "y_cov has NaN or infinity"),
    "not symmetric": (
        {"y_cov": changed((2, 3), 0.2)},
        ValueError,
        r"y_cov is not symmetric: it has 0\.[12] in row [23] and column [23], and 0\.[12] in row [23]",
    ),
    "sparse, not symmetric": (
        {"y_cov": sparse.csr_array(changed((2, 3), 0.2))},
        ValueError,
        "y_cov is not symmetric",
    ),
    "no variance": ({"y_cov": changed((4, 4), 0.0)}, ValueError, "diagonal of y_cov .* got 0 in row 4"),
    "negative": (
        {"y_cov": of_eigenvalue(-0.2)},
        ValueError,
        "not positive definite: its smallest eigenvalue is -0.2",
    ),
    "singular": (
        {"y_cov": of_eigenvalue(0.0)},
        ValueError,
        "not positive definite: its smallest eigenvalue is",
    ),
    "sparse, negative": (
        {"y_cov": sparse.block_diag([[[1.0, 2.0], [2.0, 1.0]]] * (N // 2))},
        ValueError,
        "not positive definite: its smallest eigenvalue is -1",
    ),
    "y_err beside y_cov": ({"y_cov": V, "y_err": ERROR}, ValueError, "Both y_cov and y_err are given"),
    "both": ({"y_cov": V, "y_shared_err": L}, ValueError, "Both y_cov and y_shared_err are given"),
    "nothing of their own": ({"y_shared_err": L}, ValueError, "give these, too, as y_err"),
    "too few loadings": (
        {"y_err": ERROR, "y_shared_err": L[:5]},
        ValueError,
        "y_shared_err must have one row for each of the 12 rows",
    ),
    "loadings of nothing": (
        {"y_err": ERROR, "y_shared_err": np.zeros((N, 0))},
        ValueError,
        "y_shared_err must have one row",
    ),
    "loadings not known": (
        {"y_err": ERROR, "y_shared_err": np.full(N, np.inf)},
        ValueError,
        "y_shared_err has NaN or infinity",
    ),
    "words of loadings": ({"y_err": ERROR, "y_shared_err": "a"}, TypeError, "y_shared_err must be an array"),
    "errors of X": ({"y_cov": V, "X_err": 0.1}, ValueError, "y_cov goes with exact features"),
    "limits of X": ({"y_cov": V, "X_censored": np.eye(N, 2)}, ValueError, "y_cov goes with exact features"),
    "shared, errors of X": (
        {"y_err": ERROR, "y_shared_err": L, "X_err": 0.1},
        ValueError,
        "y_shared_err goes with exact features",
    ),
    "limits": (
        {"y_cov": V, "y_censored": np.eye(N)[0]},
        ValueError,
        "y_cov and y_censored don't go together",
    ),
    "copies": (
        {"y_cov": V, "sample_weight": np.arange(N)},
        ValueError,
        "sample_weight has 2, and y_cov says",
    ),
}


@pytest.mark.parametrize("case", list(BAD))
def test_what_can_be_no_error_is_refused_by_name(case: str) -> None:
    given, kind, says = BAD[case]
    model = Regressor(weight_type="frequency").fit(X, Y, y_err=ERROR)
    before = dict(vars(model))
    with pytest.raises(kind, match=says) as refused:
        model.fit(X, Y, **given)
    assert len(str(refused.value)) <= 400
    assert vars(model) == before


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"likelihood": "student_t"}, "goes with likelihood='normal'"),
        ({"likelihood": "poisson"}, "goes with likelihood='normal'"),
        ({"truncation": (-50.0, None)}, "y_cov and truncation don't go together"),
        ({"coef_prior": Laplace()}, "not y_cov or y_shared_err"),
        ({"inference": "nuts"}, "the nuts engine can't take this model: .* not y_cov or y_shared_err"),
    ],
)
def test_models_without_a_place_for_them_are_named(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Regressor(**settings).fit(X, np.abs(np.rint(Y)), y_cov=V)


@pytest.mark.parametrize("kind", ["counts", "precision"])
def test_weights_that_are_no_frequencies_are_named(kind: str) -> None:
    with pytest.raises(ValueError, match=f"y_cov and weight_type='{kind}' don't go together"):
        Regressor(weight_type=kind).fit(X, np.ones(N) / 2, np.full(N, 4), y_cov=V)


def test_a_row_that_lacks_a_feature_is_named() -> None:
    gap = X.copy()
    gap[0, 0] = np.nan
    with pytest.raises(ValueError, match=r"y_cov goes with exact features: .* NaN in X"):
        Regressor(missing="model").fit(gap, Y, y_cov=V)


def test_errors_in_a_column_of_x_go_with_shared_ones() -> None:
    held = np.column_stack([X, ERROR])
    in_column = Regressor(y_err_column=2).fit(held, Y, y_shared_err=L)
    assert_allclose(in_column.coef_, Regressor().fit(X, Y, y_err=ERROR, y_shared_err=L).coef_, rtol=1e-12)
    with pytest.raises(ValueError, match="Both y_cov and y_err_column are given"):
        Regressor(y_err_column=2).fit(held, Y, y_cov=V)


def test_what_follows_a_fit_needs_the_same_errors_or_says_no() -> None:
    model = Regressor(noise="scaled").fit(X, Y, y_cov=V)
    shared = Regressor(noise="scaled").fit(X, Y, y_err=ERROR, y_shared_err=L)
    for of, call, says in (
        (model, lambda: model.loo(X, Y), "fitted with y_cov: give it with X and y, too"),
        (model, lambda: model.loo(X, Y, y_err=ERROR), "fitted with y_cov: give it"),
        (model, lambda: model.loo(X, Y, y_cov=2.0 * V), "not the rows that the model was fitted to"),
        (shared, lambda: shared.loo_pit(X, Y, y_err=ERROR), "fitted with y_shared_err: give it"),
        (model, lambda: model.to_arviz(X, Y, y_err=ERROR), "fitted with y_cov, correlated errors"),
        (model, lambda: audit_errors(model, X, Y, y_err=ERROR), "there is no audit of such rows"),
        (model, lambda: model.merge(shared), "their errors are correlated"),
    ):
        assert of is not None
        with pytest.raises(ValueError, match=says):
            call()
    with pytest.raises(AttributeError, match="their errors are correlated"):
        model.partial_fit(X, Y, y_err=ERROR)
    plain = Regressor(noise="scaled").fit(X, Y, y_err=ERROR)
    with pytest.raises(ValueError, match="fitted without y_cov"):
        plain.loo(X, Y, y_cov=V)
    assert model.to_arviz().posterior["coef"].shape[-1] == 2
    assert audit_errors(model, X, Y, y_err=ERROR, held_out=True).verdict


def test_shared_errors_are_split_with_their_rows() -> None:
    params = {"y_err": ERROR, "y_shared_err": L}
    scores = cross_val_score(Regressor(), X, Y, params=params, cv=2)
    half = slice(N // 2, N)
    fold = Regressor().fit(X[half], Y[half], y_err=ERROR[half], y_shared_err=L[half])
    assert_allclose(scores[0], fold.score(X[: N // 2], Y[: N // 2]), rtol=1e-12)


def test_the_search_over_priors_knows_them() -> None:
    grid = {"coef_prior__sigma": [0.1, 1.0, 10.0]}
    for given in ({"y_cov": V}, {"y_err": ERROR, "y_shared_err": L}):
        for noise in ("scaled", "auto"):
            search = BayesianErrorsInVariablesRegressorCV(Regressor(noise=noise), grid).fit(X, Y, **given)
            one = Regressor(noise=noise).set_params(coef_prior__sigma=1.0).fit(X, Y, **given)
            assert_allclose(
                search.cv_results_["score"][1], np.sum(one.loo(X, Y, **given)["loo_i"]), rtol=1e-6
            )


def test_blocks_are_found_in_whatever_order_rows_are() -> None:
    rng = np.random.default_rng(4)
    member = rng.integers(0, 3, 40)
    whole = np.where(member[:, None] == member, 0.2, 0.0) + np.eye(40)
    found = Covariance.of(sparse.coo_matrix(whole), 40).checked()
    assert sorted(rows.shape[1] for rows, _ in found.blocks for _ in rows) == sorted(np.bincount(member))
    assert_allclose(found.log_error, 0.5 * np.linalg.slogdet(whole)[1], rtol=1e-12)
    columns = rng.normal(size=(40, 2))
    product, inverse = found.solved(columns, 0.7)
    wanted = np.linalg.inv(whole + 0.49 * np.eye(40))
    assert_allclose(product, wanted @ columns, rtol=1e-10)
    assert_allclose(inverse, np.diag(wanted), rtol=1e-12)
    kept = np.flatnonzero(rng.random(40) < 0.6)
    some = found.among(kept).checked()
    assert_allclose(some.log_error, 0.5 * np.linalg.slogdet(whole[np.ix_(kept, kept)])[1], rtol=1e-12)


def test_many_small_blocks_take_no_square_of_the_rows() -> None:
    n = 60_000
    rng = np.random.default_rng(0)
    blocks = sparse.kron(sparse.identity(n // 3), [[1.0, 0.3, 0.3], [0.3, 1.0, 0.3], [0.3, 0.3, 1.0]])
    covariance = Covariance.of(blocks, n)
    assert covariance.n_numbers == 3 * n
    state = covariance.compress(Rows(rng.normal(size=(n, 2)), rng.normal(size=n)))
    assert_allclose(state.log_error, 0.5 * (n / 3) * np.log(1.6 * 0.7**2), rtol=1e-12)
