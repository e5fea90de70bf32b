"""Scores of predictive distributions, as scikit-learn scorers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import ArrayLike
from sklearn import get_config
from sklearn.utils.metadata_routing import MetadataRequest

from ..measurements.checks import check_coverage
from ..measurements.messages import shown
from ..prediction.distribution import PredictiveDistribution
from ..prediction.of_estimators import distribution_of_measured
from .scores import (
    column_of,
    crps,
    interval_coverage,
    interval_score,
    interval_width,
    log_predictive_density,
    measured_rows,
    pit,
    pit_error,
    row_weights,
)

# A scorer holds a name from this table, so that it pickles. All take (y, distribution, weights,
# coverage).
_SCORES: dict[str, Callable[[Any, PredictiveDistribution, Any, Any], float]] = {
    "log_predictive_density": lambda y, d, w, _: log_predictive_density(y, d, sample_weight=w),
    "neg_crps": lambda y, d, w, _: -crps(y, d, sample_weight=w),
    "neg_pit_error": lambda y, d, w, _: -pit_error(pit(y, d), sample_weight=w),
    "neg_interval_score": lambda y, d, w, c: -interval_score(y, *d.interval(c), coverage=c, sample_weight=w),
    "interval_coverage": lambda y, d, w, c: interval_coverage(y, *d.interval(c), sample_weight=w),
    "neg_interval_width": lambda y, d, w, c: -interval_width(*d.interval(c), sample_weight=w),
}

# Scores that say something of rows of which limits were seen.
_OF_LIMITS = ("log_predictive_density", "neg_pit_error")

# What scorers ask of metadata routing until told otherwise. y_err, X_censored and exposure can only be the
# measurement's own; whether a weight is the row's or the count behind a share only the user knows, and
# scikit-learn raises on None until told.
_REQUESTS: dict[str, bool | str | None] = {
    "sample_weight": None,
    "counts": None,
    "y_err": True,
    "X_censored": True,
    "exposure": True,
}


@dataclass(frozen=True, repr=False)
class ProbabilisticScorer:
    """Callable ``scorer(estimator, X, y)``, made by `make_probabilistic_scorer`; immutable.

    Examples
    --------
    >>> from bayes_sklearn.metrics import neg_crps_scorer
    >>> neg_crps_scorer
    make_probabilistic_scorer('neg_crps')
    """

    score: str
    coverage: float | None = None
    requests: tuple[tuple[str, bool | str | None], ...] = tuple(_REQUESTS.items())

    def __call__(
        self,
        estimator: Any,
        X: Any,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        **predict_params: Any,
    ) -> float:
        """Score y under what a fitted regressor predicts for X; greater is better.

        `sample_weight` weights the rows of the score; `predict_params`, such as `counts` or
        `y_err`, go to `predictive_distribution`.

        Returns
        -------
        float

        Raises
        ------
        TypeError
            If the regressor has no predictive standard deviation.
        ValueError
            As the score's function.

        Examples
        --------
        >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor
        >>> from bayes_sklearn.metrics import neg_crps_scorer
        >>> model = BayesianErrorsInVariablesRegressor().fit([[0.0], [1.0], [2.0], [3.0]], [0.1, 1.9, 4.2, 5.8])
        >>> round(neg_crps_scorer(model, [[0.5], [2.5]], [1.2, 4.7]), 1)
        -0.1
        """
        renamed = [name for name, request in self.requests if request == "sample_weight"]
        if sample_weight is not None and not predict_params.keys() >= set(renamed):
            # The `score` of a search of several metrics skips what its scorers ask for.
            raise ValueError(f"{self!r} was given sample_weight by that name; call it with {renamed[0]}=...")
        distribution = distribution_of_measured(estimator, X, y, **predict_params)
        measured = measured_rows(distribution, values=self.score not in _OF_LIMITS)
        if measured is not None:
            y = column_of("y_true", y, measured)
            sample_weight = row_weights(sample_weight, len(measured), measured)
        return _SCORES[self.score](y, distribution, sample_weight, self.coverage)

    def set_score_request(self, **requests: bool | str | None) -> ProbabilisticScorer:
        """Return a copy with these requests to metadata routing.

        ``neg_crps_scorer.set_score_request(counts="sample_weight")`` scores held-out shares with
        the counts behind them, which went to ``fit`` as `sample_weight`. scikit-learn's own scorers
        change in place; this one can't, since everyone shares the module's.

        Parameters
        ----------
        **requests : {True, False, None} or str
            For `sample_weight` or any parameter of prediction: pass it on, ignore it, raise if it
            is given, or pass on what is given under this name; ValueError if it is none of these.
            The rest stays as it was: at first `y_err`, `X_censored` and `exposure` True, `sample_weight` and
            `counts` None.

        Returns
        -------
        ProbabilisticScorer

        Raises
        ------
        RuntimeError
            If metadata routing is off.

        Examples
        --------
        >>> import sklearn
        >>> from bayes_sklearn.metrics import neg_crps_scorer
        >>> with sklearn.config_context(enable_metadata_routing=True):
        ...     neg_crps_scorer.set_score_request(counts="sample_weight")
        make_probabilistic_scorer('neg_crps').set_score_request(counts='sample_weight')
        """
        if not get_config()["enable_metadata_routing"]:
            raise RuntimeError(
                "set_score_request needs metadata routing; turn it on with "
                "sklearn.set_config(enable_metadata_routing=True)."
            )
        asked = {name: True if name == request else request for name, request in requests.items()}
        changed = replace(self, requests=tuple({**dict(self.requests), **asked}.items()))
        changed.get_metadata_routing()  # raises if a request is impossible
        return changed

    def get_metadata_routing(self) -> MetadataRequest:
        """Return what this scorer asks of metadata routing; scikit-learn's routers call it.

        Examples
        --------
        >>> from bayes_sklearn.metrics import neg_crps_scorer
        >>> neg_crps_scorer.get_metadata_routing().score.requests["y_err"]
        True
        """
        routing = MetadataRequest(owner=repr(self))
        aliases = {request for _, request in self.requests if isinstance(request, str)}
        for parameter, request in self.requests:
            # counts="sample_weight" settles what the sample_weight passed is for.
            settled = request is None and parameter in aliases
            routing.score.add_request(param=parameter, alias=False if settled else request)
        return routing

    def _accept_sample_weight(self) -> bool:
        # Without routing, searches of scikit-learn >= 1.7 ask before they pass on fit's weights.
        return True

    def __repr__(self) -> str:
        coverage = "" if self.coverage is None else f", coverage={self.coverage}"
        asked = [f"{k}={v!r}" for k, v in self.requests if (k, v) not in _REQUESTS.items()]
        requests = f".set_score_request({', '.join(asked)})" if asked else ""
        return f"make_probabilistic_scorer({self.score!r}{coverage}){requests}"


def make_probabilistic_scorer(score: str, *, coverage: float | None = None) -> ProbabilisticScorer:
    """Make a scorer for `cross_validate`, `GridSearchCV` and the like; greater is better.

    Without metadata routing, scikit-learn passes X and y only; from 1.7 on, a search passes the
    `sample_weight` of its ``fit``, too, as weights of the rows.

    Parameters
    ----------
    score : str
        A key of `SCORERS`, such as "neg_interval_score".
    coverage : float, optional
        Probability that the intervals are to hold, for scores of intervals; 0.95 if left out.

    Returns
    -------
    ProbabilisticScorer
        Callable as ``scorer(estimator, X, y)``.

    Raises
    ------
    ValueError
        If there is no such score, or `coverage` is not between 0 and 1 or given to another score.

    Examples
    --------
    >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor
    >>> from bayes_sklearn.metrics import make_probabilistic_scorer
    >>> model = BayesianErrorsInVariablesRegressor().fit([[0.0], [1.0], [2.0], [3.0]], [0.1, 1.9, 4.2, 5.8])
    >>> scorer = make_probabilistic_scorer("neg_interval_width", coverage=0.5)
    >>> round(scorer(model, [[0.5], [2.5]], [1.2, 4.7]), 1)
    -0.6
    """
    interval_scores = ("neg_interval_score", "interval_coverage", "neg_interval_width")
    if score not in _SCORES:
        raise ValueError(f"score must be one of {', '.join(_SCORES)}; got {shown(score)}.")
    if score in interval_scores:
        coverage = 0.95 if coverage is None else coverage
        check_coverage(coverage)
    elif coverage is not None:
        raise ValueError(
            f"coverage means nothing to {shown(score)}, which scores the whole distribution; leave it "
            f"out or take one of {', '.join(interval_scores)}."
        )
    return ProbabilisticScorer(score, coverage)


SCORERS = {score: make_probabilistic_scorer(score) for score in _SCORES}

log_predictive_density_scorer = SCORERS["log_predictive_density"]

neg_crps_scorer = SCORERS["neg_crps"]

neg_pit_error_scorer = SCORERS["neg_pit_error"]

neg_interval_score_scorer = SCORERS["neg_interval_score"]

interval_coverage_scorer = SCORERS["interval_coverage"]

neg_interval_width_scorer = SCORERS["neg_interval_width"]
