"""What notebooks show of a fit is what the fit has found, and safe to show."""

from __future__ import annotations

import re
import warnings
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_html_repr

from bayes_sklearn import BayesianErrorsInVariablesRegressor as Regressor
from bayes_sklearn import BayesianErrorsInVariablesRegressorCV, Normal, VarianceFunction, distributed

from data import measured, shares

ASKS_STEPS = pytest.mark.skipif(
    not hasattr(BaseEstimator, "_get_params_html"), reason="scikit-learn 1.6 writes steps by itself"
)


class Page(HTMLParser):
    """The part of a page that is about the fit: its text, and the cells of its table, by row."""

    def __init__(self, page: str):
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.rows: list[list[str]] = []
        self.text = self.style = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.open.append(tag)
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data
        elif "style" not in self.open:
            self.text += data


def part(page: str) -> Page:
    """What is ours of a page."""
    (found,) = re.findall(
        r'<style>\s*\.bayes-sklearn-fit.*?</style><div class="bayes-sklearn-fit">.*?</div>', page, re.S
    )
    return Page(found)


def shown(model: Any) -> Page:
    return part(model._repr_html_())


def test_before_a_fit_the_page_is_scikit_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    def page(model: BaseEstimator) -> str:
        return re.sub(r"id-\d+", "", model._repr_html_())

    models = Regressor(noise="known"), BayesianErrorsInVariablesRegressorCV()
    ours = [page(model) for model in models]
    for cls in type(models[0]).__mro__:
        if cls.__name__ == "HTMLMixin":
            for name in list(vars(cls)):
                if hasattr(BaseEstimator, name) and not name.startswith("__"):
                    monkeypatch.delattr(cls, name)
    assert [page(model) for model in models] == ours
    X, y, _ = measured()
    assert "bayes-sklearn" not in page(models[0].fit(X, y, y_err=10.0))


def test_the_table_has_the_figures_of_the_summary() -> None:
    X, y, y_err = measured()
    for model in (
        Regressor().fit(X, y, y_err=y_err),
        Regressor(fit_intercept=False).fit(1e-7 * X, 1e-9 * y),
        Regressor().fit(X, 1e9 * y),
        Regressor(likelihood="student_t", random_state=0).fit(X, y),
    ):
        table, page = model.summary(), shown(model)
        assert page.rows[0] == ["", "mean", "sd"]
        for name, mean, sd in page.rows[1:]:
            # Two digits of a standard deviation, three of anything else.
            unit = table["sd"][name] if sd else abs(table["mean"][name]) / 10.0
            assert abs(float(mean) - table["mean"][name]) <= 0.051 * unit, name
            assert not sd or abs(float(sd) / table["sd"][name] - 1.0) <= 0.051
        assert [row[0] for row in page.rows[1:] if row[2]] == ["x0", "x1", "x2"]
        known = [name for name in table.index if name != "prior_scale"]
        assert [row[0] for row in page.rows[1:]] == known
        assert f"{model.inference_} inference to 60 rows, with 3 features" in page.text


def test_errors_of_features_show_their_reliability() -> None:
    X, y, _ = measured()
    model = Regressor(random_state=0).fit(X, y, X_err=[0.02, 0.5, 5.0])
    page = shown(model)
    assert page.rows[0][-1] == "reliability"
    assert [float(row[-1]) for row in page.rows[2:5]] == pytest.approx(model.reliability_, abs=0.0051)
    assert "importance" in page.text


def test_of_many_features_the_first_ten_are_shown() -> None:
    rng = np.random.default_rng(0)
    names = [f"{'long name of a feature ' * 10}{i}" for i in range(30)]
    X = pd.DataFrame(rng.normal(size=(100, 30)), columns=names)
    model = Regressor().fit(X, X.sum(axis=1) + rng.normal(size=100))
    page = model._fit_html()
    assert len(page) < 4000
    rows = Page(page).rows
    assert [len(row) for row in rows] == [3] * len(rows)
    assert len(rows) == 14  # their names, the intercept, ten, how many more, the noise
    assert rows[12][0] == "20 more: see summary()"
    assert max(len(row[0]) for row in rows) <= 60
    counted = Page(Regressor().fit(X.iloc[:, :11], X.sum(axis=1))._fit_html()).rows
    assert counted[12][0] == "1 more: see summary()"


def test_names_and_messages_are_text() -> None:
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(60, 2)), columns=["<script>alert(1)</script>", "<b>&amp;"])
    with pytest.warns(UserWarning, match="contradict"):
        model = Regressor(coef_prior=Normal(sigma=0.001)).fit(X, 100.0 * X.iloc[:, 0] + rng.normal(size=60))
    model.fit_warnings_ += ("<img src=x onerror=alert(1)>",)
    page = shown(model)
    assert [row[0] for row in page.rows[2:4]] == list(X.columns)
    assert page.tags == {"style", "div", "b", "ul", "li", "table", "thead", "tbody", "tr", "th", "td"}
    assert "<img src=x onerror=alert(1)>" in page.text


def test_the_fit_remembers_what_it_warned_of() -> None:
    X, y, _ = measured()
    model = Regressor(noise="known")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        model.fit(X, y, y_err=1e-3)
    assert model.fit_warnings_ == tuple(str(one.message) for one in said) != ()
    assert model.fit_warnings_[0] in shown(model).text
    # Whether it is heard or not; a fit that fails leaves what the last one has said, one that is sound nothing.
    before = model.fit_warnings_
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert clone(model).fit(X, y, y_err=1e-3).fit_warnings_ == before
        assert (
            clone(model).set_params(count_error="observed").partial_fit(X, y, y_err=1e-3).fit_warnings_
            == before
        )
        batches = [(X[:20], y[:20]), (X[20:], y[20:])]
        assert distributed.fit(clone(model), batches, y_err=1e-3).fit_warnings_ == before
        halves = [clone(model).fit(X[i::2], y[i::2], y_err=1e-3) for i in (0, 1)]
        assert halves[0].merge(halves[1]).fit_warnings_ == before
    with pytest.raises(ValueError, match="y_err"):
        model.fit(X, y, y_err=-1.0)
    assert model.fit_warnings_ == before
    model.fit(X, y, y_err=100.0)
    assert model.fit_warnings_ == ()
    assert "warned of nothing" in shown(model).text


def test_fits_on_the_way_to_the_fit_are_not_heard() -> None:
    rng = np.random.default_rng(0)
    true = rng.uniform(1.0, 10.0, 200)
    x = true * (1.0 + 0.1 * rng.normal(size=200))
    # A fit without errors of x, beside which this one is put, finds no noise.
    assert Regressor(random_state=0).fit(x[:, None], 2.0 * x, X_err=0.3).fit_warnings_ == ()
    # And errors that depend on true values are found from a fit that knows none.
    y = 2.0 * true + 0.1 * rng.normal(size=200)
    model = Regressor(noise="known", random_state=0)
    with pytest.warns(UserWarning, match="reduced chi-square"):
        model.fit(x[:, None], y, y_err=0.1)
    model.fit(x[:, None], y, y_err=0.1, X_err=VarianceFunction(relative=0.1))
    assert model.fit_warnings_ == ()


@pytest.mark.thorough
def test_doubts_of_a_sampler_are_shown() -> None:
    X, y, counts = shares()
    with pytest.warns(ConvergenceWarning) as said:
        model = Regressor(
            inference="nuts",
            draws=20,
            chains=2,
            nuts_kwargs={"tune": 10},
            random_state=0,
            likelihood="binomial",
        ).fit(X, y, counts)
    page = shown(model)
    assert str(said[0].message) in page.text
    assert "nuts inference" in page.text


def test_at_most_five_warnings_are_shown() -> None:
    X, y, y_err = measured()
    model = Regressor().fit(X, y, y_err=y_err)
    model.fit_warnings_ = tuple(f"warning {i}" for i in range(7))
    page = model._fit_html()
    assert page.count("<li>") == 6
    assert "<li>2 more: <code>fit_warnings_</code></li>" in page


@ASKS_STEPS
def test_pipelines_and_searches_show_it() -> None:
    X, y, y_err = measured()
    errors = {"bayesianerrorsinvariablesregressor__y_err": y_err}
    for model in (
        make_pipeline(StandardScaler(), Regressor()).fit(X, y, **errors),
        GridSearchCV(Regressor(), {"noise": ["scaled", "known"]}).fit(X, y, y_err=y_err),
        GridSearchCV(make_pipeline(StandardScaler(), Regressor()), {}).fit(X, y, **errors),
        BayesianErrorsInVariablesRegressorCV(param_grid={"noise": ["scaled"]}).fit(X, y, y_err=y_err),
        BayesianErrorsInVariablesRegressorCV(Regressor(), {"noise": ["scaled"]}).fit(X, y, y_err=y_err),
    ):
        assert "to 60 rows, with 3 features" in part(estimator_html_repr(model)).text
    assert "bayes-sklearn" not in estimator_html_repr(clone(model))


def test_the_text_is_what_it_was() -> None:
    X, y, y_err = measured()
    model = Regressor(noise="known").fit(X, y, y_err=y_err)
    bundle = model._repr_mimebundle_()
    assert bundle["text/plain"] == repr(model) == "BayesianErrorsInVariablesRegressor(noise='known')"
    assert part(bundle["text/html"]).text == shown(model).text
    with sklearn.config_context(display="text"):
        assert list(model._repr_mimebundle_()) == ["text/plain"]
        assert not hasattr(model, "_repr_html_")
