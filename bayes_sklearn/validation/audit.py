"""Whether stated errors, and the line, are right: how far rows lie from it, and with what pattern.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, fields
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from sklearn.utils.validation import _num_samples

from .. import metrics
from ..estimators.errors.at_true_values import as_numbers
from ..measurements.checks import named, read_table, read_target
from ..measurements.messages import hinting, shown
from ..prediction.of_estimators import final_regressor
from .dispersion import Dispersion, by_decile, dispersion_of, trend_of
from .patterns import CORRELATED, CURVE, MEASURED, UNEVEN, Pattern, find_patterns
from .standardized_rows import StandardizedRows, standardize_rows
from .stated_errors import Kind
from .verdict import Verdict, decide, explain, levels, multiplies_errors

__all__ = ["ErrorAudit", "audit_errors"]

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class ErrorAudit:
    """What an audit of stated errors found, see `audit_errors`; print it, or take `to_frame`.

    Attributes
    ----------
    verdict : {"about right", "too small", "too large", "extra-binomial variation", "extra scatter", \
"errors from measured values", "missed curve", "correlated rows", "uneven noise"}
    message : str
        The verdict in a few sentences, with what to do.
    dispersion, standard_error : float
        Mean squared standardised residual of all rows, and its standard error; see `Dispersion`.
    interval : tuple of float
        Limits of its 95% confidence interval.
    factor : tuple of float
        What the stated errors would have to be multiplied by, and its 95% confidence interval.
    by : dict of str to Dispersion
        The dispersion by deciles of "count", "stated error" (or "predicted std"), "feature error" (what features'
        errors add to the row's) and "prediction"; what all rows have in common is left out.
    trend : float
        z score of how dispersion grows with the count, or falls with the stated error; NaN where all are the same.
    p_dispersion, p_trend : float
        Probability of a dispersion as far from 1, and of a trend as strong, where the stated errors are right.
    patterns : dict of str to Pattern
        What each test of the line found that the rows allow, by the name of its verdict: the probability ``p`` of as
        much where nothing is wrong, the ``strength`` (a correlation, the share of the variance that a curve explains,
        the intraclass correlation, the ratio of the noise at both ends), ``along`` what, and the ``design_effect`` of
        groups.
    noise_scale : tuple of float or None
        Posterior mean of the noise scale and its 95% credible interval; None but where it multiplies errors.
    coverage : float
        Share of rows inside their predicted 95% intervals.
    pit : ndarray of shape (n,)
        Probability integral transform of the rows under their predictions, uniform where these are calibrated; of
        the rows of an exact fit, under predictions from the others (leave-one-out).
    pit_error : float
        Its distance from uniform, see `metrics.pit_error`.
    residuals : ndarray of shape (n,)
        Standardised by the stated errors and the line's uncertainty.
    kind : {"counts", "events", "standard_error", "predicted", "fitted"}
        What states the errors; "predicted": nothing, the predictions' standard deviations are judged; "fitted":
        nothing, only the line is judged, and the noise that was fitted stands for errors.
    n_rows : int
        Rows used.
    n_effective : float
        Kish's effective number of them, ``sum(w)**2 / sum(w**2)`` of frequencies w.
    held_out : bool
        Whether the rows are others than those of fit.
    false_alarm_rate : float
        Probability of a verdict other than "about right" where the stated errors and the line are right.

    Examples
    --------
    >>> import numpy as np
    >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor, audit_errors
    >>> rng = np.random.default_rng(0)
    >>> X = np.linspace(0.0, 10.0, 200)[:, None]
    >>> y = 2.0 * X[:, 0] + rng.normal(scale=0.6, size=200)  # twice the error that is stated
    >>> model = BayesianErrorsInVariablesRegressor(noise="scaled").fit(X, y, y_err=0.3)
    >>> audit = audit_errors(model, X, y, y_err=0.3)
    >>> audit.verdict, round(audit.factor[0], 1)
    ('too small', 1.9)
    """

    verdict: Verdict
    message: str
    dispersion: float
    standard_error: float
    interval: tuple[float, float]
    by: dict[str, Dispersion]
    trend: float
    p_dispersion: float
    p_trend: float
    patterns: dict[str, Pattern]
    noise_scale: tuple[float, float, float] | None
    coverage: float
    pit: Array
    pit_error: float
    residuals: Array
    kind: Kind
    n_rows: int
    n_effective: float
    held_out: bool
    false_alarm_rate: float

    @property
    def factor(self) -> tuple[float, float, float]:
        lower, upper = self.interval
        return float(np.sqrt(self.dispersion)), float(np.sqrt(lower)), float(np.sqrt(upper))

    def to_frame(self) -> pd.DataFrame:
        """Return the dispersion of all rows and by deciles as a data frame, one row per group.

        Examples
        --------
        >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor, audit_errors
        >>> from bayes_sklearn.datasets import load_seeds
        >>> X, y = load_seeds(return_X_y=True)
        >>> model = BayesianErrorsInVariablesRegressor().fit(X, y)
        >>> audit_errors(model, X, y).to_frame().columns[:5].tolist()
        ['by', 'low', 'high', 'n_rows', 'dispersion']
        """
        import pandas as pd

        names = "by", "low", "high", "n_rows", "dispersion", "standard_error", "lower_95%", "upper_95%"
        none, value = np.nan, self.dispersion
        lines = [("all rows", none, none, self.n_rows, value, self.standard_error, *self.interval)]
        for name, found in self.by.items():
            of = [getattr(found, field.name) for field in fields(found)]
            lines += [(name, *line) for line in zip(*of, strict=True)]
        return pd.DataFrame(lines, columns=names)

    def __str__(self) -> str:
        # Mean distance of the PIT values of n calibrated rows from uniform, times sqrt(n), (61).
        calibrated = 0.3133
        import pandas as pd

        source = {
            "counts": "counts",
            "events": "counts of events",
            "standard_error": "y_err",
            "predicted": "predictions",
            "fitted": "the noise as fitted",
        }[self.kind]
        rows = "held out" if self.held_out else "of the fit"
        lower, upper = self.interval
        lines = [
            f"Audit of the errors from {source}: {self.n_rows} rows {rows}",
            f"Verdict: {self.verdict}",
            "",
            *textwrap.wrap(self.message, 88),
            "",
            f"dispersion   {self.dispersion:.2f} (95%: {lower:.2f} to {upper:.2f}); 1 where the errors are right",
        ]
        if self.noise_scale is not None:
            mean, low, high = self.noise_scale
            lines.append(
                f"noise scale  {mean:.2f} (95%: {low:.2f} to {high:.2f}); what the fit multiplies them by"
            )
        lines += [
            f"predictions  95% intervals hold {100.0 * self.coverage:.1f}% of the rows",
            f"PIT error    {self.pit_error:.3f}; {calibrated / np.sqrt(self.n_effective):.3f} expected of calibrated"
            " predictions",
            *_pattern_lines(self.patterns, levels(self.kind, self.patterns, self.false_alarm_rate)),
        ]
        table = self.to_frame().iloc[1:]
        with pd.option_context("display.width", 120):
            for name, part in table.groupby("by", sort=False):
                shown = part[["low", "high", "n_rows", "dispersion", "lower_95%", "upper_95%"]]
                formats = {
                    column: (lambda v: f"{v:.3g}") if column in ("low", "high") else (lambda v: f"{v:.2f}")
                    for column in shown.columns.drop("n_rows")
                }
                lines += ["", f"by {name}", shown.to_string(index=False, formatters=formats)]
        return "\n".join(lines)

    __repr__ = __str__


@hinting
def audit_errors(
    estimator: Any,
    X: Any,
    y: ArrayLike,
    sample_weight: ArrayLike | None = None,
    *,
    y_err: ArrayLike | float | None = None,
    X_err: ArrayLike | float | None = None,
    X_cov: ArrayLike | None = None,
    Xy_cov: ArrayLike | None = None,
    exposure: ArrayLike | float | None = None,
    y_censored: ArrayLike | None = None,
    y_upper: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    held_out: bool = False,
    pit: ArrayLike | None = None,
    false_alarm_rate: float = 0.05,
) -> ErrorAudit:
    """Judge whether the errors that rows state are right, and the line that they are held against.

    What is judged are the errors as stated: ``y_err``, or what counts give (binomial, plus the estimator's
    ``error_floor``). What the fit made of them, by its noise scale or extra-binomial variation, is left out, since
    it absorbs errors that are wrong; the line's own uncertainty is taken into account.

    *The rule.* Where the stated errors are right, the sum of the squared standardised residuals follows a
    chi-squared distribution (matched in mean and variance to binomial errors, where there are counts). Outside its
    central part, the errors are "too small" or "too large". Where the dispersion is above 1 and grows with the
    logarithm of the count, the verdict is "extra-binomial variation"; where it falls with that of ``y_err``, "extra
    scatter": the rows vary by something that the errors do not contain, and no factor would mend them. Counts of
    events state the square root of their mean; "extra-Poisson variation" grows with that. Errors of rows are
    taken to be normal (Student's, under ``likelihood="student_t"``) and independent. Degrees of freedom that a fit
    was to find are found from the residuals, with allowance for scale and tails that are hard to separate.

    *The line.* Four tests look for what no size of the errors mends, by least squares' residuals in units of the
    noise as fitted, so that neither a common factor nor the prior matters. "errors from measured values": the
    logarithm of ``y_err`` goes with the row's own noise, beyond what goes with the prediction and the features.
    "missed curve": residuals follow a bend along the prediction, or along a feature. "correlated rows": those of one
    of the ``groups`` are correlated. "uneven noise": their size grows or falls along the prediction or a feature (of
    counts, beyond what is binomial). Where no errors are stated, these alone are judged. Every row counts once,
    whatever its frequency; a test that has too few rows beside the line's coefficients is left out.

    *False alarms.* Of those allowed the test of dispersion has 4 parts, that of its trend 2 and each of the line 1;
    those that rows don't allow leave theirs to the others. As the trend counts where the dispersion is above 1 alone,
    there are a little fewer. What was found first is the verdict: errors from measured values or a missed curve (the
    less likely by chance), correlated rows, extra variation, uneven noise, dispersion; the message names the others.

    *Errors of features* and those of y are seen by their sum: the variance about the line is the stated variance
    of y plus the one that the features' errors cause. So ``X_err`` too small is called "too small"
    (where ``y_err`` differs from row to row sometimes "extra scatter"), too large "too large", like ``y_err``; the
    two differ only by the pattern in ``by["feature error"]``, and can cancel. Where features' errors are a
    small part of that variance (an exact feature, or a small coefficient), their size can't be seen at all.

    *Frequencies* weigh rows. A row that counts k times has been measured once: standard errors take rows as what
    might have come out otherwise, as `loo` does.

    Parameters
    ----------
    estimator : fitted regressor, Pipeline or search
        A regressor other than `BayesianErrorsInVariablesRegressor` has no stated errors; then the standard
        deviations that it predicts are judged, on held-out rows. That it did not know its noise exactly makes them
        wrong, too, so that with few rows in its fit more than the stated rate fail.
    X : array-like of shape (n, k)
    y : array-like of shape (n,)
    sample_weight : array-like of shape (n,), optional
        As in fit: counts if fit took its weights as counts (``weight_type_``), else how often each row counts.
    y_err : float or array-like of shape (n,), optional
        Standard errors of y, if no column of X holds them.
    X_err, X_cov, Xy_cov : array-like, optional
        Errors of the features, as in fit; new rows that state none are taken to be measured as those of fit.
    exposure : float or array-like of shape (n,), optional
        What the events in y were counted over, if no column of X holds it.
    y_censored, y_upper : array-like of shape (n,), optional
        Which rows have a limit in the place of y, as in fit, if no column of X says it: a value of each is drawn
        from its prediction between the limits, once.
    groups : array-like of shape (n,), optional
        What rows are of (a patient, a batch, a site), where those of one may have something in common: numbers,
        names, or whatever can be a key. Rows whose group is missing (None, NaN) stand alone.
    held_out : bool, default=False
        Whether the rows are new. False: they are those of the fit, to which the line has adapted.
    pit : array-like of shape (n,), optional
        Probability integral transform of the rows. None: of the rows of an exact fit leave-one-out's (`loo_pit`,
        which takes seconds after other engines, and can be given), else that of predictions for them.
    false_alarm_rate : float, default=0.05
        Probability of a verdict other than "about right" where the stated errors and the line are right.

    Returns
    -------
    ErrorAudit

    Raises
    ------
    TypeError, ValueError
        For bad input, naming the argument.

    References
    ----------
    .. [1] Williams (1982), "Extra-binomial variation in logistic linear models", Applied Statistics 31, 144-148.

    Examples
    --------
    >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor, audit_errors
    >>> from bayes_sklearn.datasets import make_role_modeling
    >>> X, y, n = (make_role_modeling(random_state=0)[name] for name in ("data", "target", "counts"))
    >>> model = BayesianErrorsInVariablesRegressor(weight_type="counts").fit(X, y, n)
    >>> audit_errors(model, X, y, n).verdict
    'about right'
    """
    rate, n = _check_rate(false_alarm_rate), _n_rows(X)
    regressor, table = final_regressor(estimator, X)
    target = _target(regressor, table, y, sample_weight, n)
    errors = as_numbers(regressor, table, None if held_out else target, y_err, X_err, X_cov)
    given = {**errors, "X_cov": X_cov, "Xy_cov": Xy_cov, "groups": _numbered(groups, n), "held_out": held_out}
    of_target: dict[str, Any] = {"exposure": exposure, "y_censored": y_censored, "y_upper": y_upper}
    rows = standardize_rows(estimator, X, target, sample_weight, **given, **of_target)
    if (n := len(rows.residual)) < 10:
        raise ValueError(f"X has {n} rows that can be judged: an audit needs at least 10.")
    frequency = np.ones(n) if rows.frequency is None else rows.frequency
    overall = dispersion_of(rows, frequency, np.zeros(n, dtype=np.intp), np.zeros(n))
    value, error = float(overall.value[0]), float(overall.standard_error[0])
    p_dispersion, trend = _of_chance(value, error), trend_of(rows, frequency, value)
    p_trend = float(stats.norm.sf(trend)) if np.isfinite(trend) else 1.0
    patterns = {} if rows.line is None else find_patterns(rows.line)
    verdict, found = decide(rows.kind, value, p_dispersion, p_trend, patterns, rate)
    interval = float(overall.lower[0]), float(overall.upper[0])
    left_out = pit is None and not held_out and getattr(regressor, "inference_", None) == "exact"
    found_pit = regressor.loo_pit(table, target, sample_weight, y_err=errors["y_err"]) if left_out else pit
    values = _pit(rows, found_pit)
    return ErrorAudit(
        verdict=verdict,
        message=explain(verdict, rows, regressor, value, interval, patterns, found),
        dispersion=value,
        standard_error=error,
        interval=interval,
        by=by_decile(rows, frequency),
        trend=trend,
        p_dispersion=p_dispersion,
        p_trend=p_trend,
        patterns=patterns,
        noise_scale=_noise_scale(regressor, rows.kind),
        coverage=_coverage(rows, frequency),
        pit=values,
        pit_error=metrics.pit_error(values, sample_weight=frequency),
        residuals=rows.residual,
        kind=rows.kind,
        n_rows=n,
        n_effective=float(frequency.sum() ** 2 / (frequency @ frequency)),
        held_out=bool(held_out),
        false_alarm_rate=rate,
    )


def _n_rows(X: Any) -> int:
    with named("X"):
        return int(_num_samples(X))


def _target(regressor: Any, table: Any, y: ArrayLike, sample_weight: Any, n: int) -> Array:
    """Return y, checked: rows whose count is 0 need none, nor those to predict of a model that knows of gaps."""
    fitted = getattr(regressor, "_fitted", None)
    if fitted is None:
        return read_target(y, n=n, weight=sample_weight)
    if fitted.groupings is not None:
        raise ValueError(
            "audit_errors doesn't take fits with group_column, whose effects follow the rows: audit a fit without it,"
            " with the labels as groups."
        )
    if "count_column" in fitted.columns.special:
        sample_weight = fitted.columns.held(read_table(regressor, table))["count_column"]
    return read_target(y, regressor, n=n, weight=sample_weight)


def _of_chance(value: float, error: float) -> float:
    """Return the probability of a dispersion as far from one, on either side, where errors are right, (58)."""
    degrees = 2.0 * (value / error) ** 2
    return 2.0 * float(min(stats.chi2.sf(degrees * value, degrees), stats.chi2.cdf(degrees * value, degrees)))


def _check_rate(false_alarm_rate: float) -> float:
    if not isinstance(false_alarm_rate, Real) or not 0.0 < false_alarm_rate < 1.0:
        raise ValueError(
            f"false_alarm_rate must lie between 0 and 1, got {shown(false_alarm_rate)}; 5% is 0.05."
        )
    return float(false_alarm_rate)


def _numbered(groups: ArrayLike | None, n: int) -> NDArray[np.intp] | None:
    """Return the number of each row's group, None of none; rows without one have a number of their own."""
    if groups is None:
        return None
    import pandas as pd

    try:
        labels = pd.Series(groups, dtype=object).reset_index(drop=True)
        numbers = pd.factorize(labels)[0].astype(np.intp)  # -1 where missing
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"groups must be a list of labels, one per row, each of them hashable: {error}"
        ) from None
    if len(numbers) != n:
        raise ValueError(f"groups has {len(numbers)} labels, but X has {n} rows: give one per row.")
    alone = numbers < 0
    numbers[alone] = len(numbers) + np.arange(np.count_nonzero(alone))
    n_groups = len(np.unique(numbers))
    if n_groups in (1, n):
        found = "all rows are of one group" if n_groups == 1 else "no two rows are of one group"
        raise ValueError(f"groups: {found}, so that no correlation within groups can be tested.")
    return numbers


def _pattern_lines(patterns: dict[str, Pattern], level: dict[str, float]) -> list[str]:
    """Return a line for what each test of the line found."""
    strengths = {
        MEASURED: "correlation",
        CURVE: "part of variance",
        CORRELATED: "correlation",
        UNEVEN: "ratio of noise",
    }
    if not patterns:
        return []
    lines = ["", "tests of the line (p is that of as much where nothing is wrong)"]
    for name, pattern in patterns.items():
        along = "" if pattern.along is None else f" along {pattern.along}"
        effect = "" if pattern.design_effect is None else f", design effect {pattern.design_effect:.1f}"
        mark = " *" if pattern.p < level[name] else ""
        what = f"{strengths[name]} {pattern.strength:.2f}{along}{effect}"
        lines.append(f"{name:<28} p {pattern.p:<8.2g} {what}{mark}"[:88])
    return lines


def _coverage(rows: StandardizedRows, frequency: Array) -> float:
    """Return the share of the rows used that lie inside their predicted 95% intervals."""
    lower, upper = (limit[rows.used] for limit in rows.distribution.interval(0.95))
    return metrics.interval_coverage(rows.target[rows.used], lower, upper, sample_weight=frequency)


def _pit(rows: StandardizedRows, given: ArrayLike | None) -> Array:
    """Return the PIT values of the rows used: those given, or of the predictions for them."""
    y = rows.target
    if given is None:
        return metrics.pit(y, rows.distribution)[rows.used]
    values = np.nan_to_num(np.asarray(given, dtype=np.float64), nan=-1.0)
    if values.shape != y.shape or not ((values >= 0.0) & (values <= 1.0))[rows.used].all():
        raise ValueError(
            f"pit must be {len(y)} numbers in [0, 1], one per row: give what `metrics.pit` returns."
        )
    return values[rows.used]


def _noise_scale(regressor: Any, kind: Kind) -> tuple[float, float, float] | None:
    """Return posterior mean and 95% limits of the multiple of stated errors, where there is one."""
    if kind in ("predicted", "fitted") or not multiplies_errors(regressor):
        return None
    lower, upper = regressor._fitted.posterior.noise_quantiles(np.array([0.025, 0.975]))
    return regressor.noise_scale_, float(lower), float(upper)
