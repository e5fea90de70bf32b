"""Fits batch by batch, and of parts that were fitted elsewhere: all that is kept of rows are sums over them.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial, update_wrapper
from types import MethodType
from typing import Any, Self, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import _fit_context

from ..inference.groups.rows import cells_of
from ..inference.problem import Problem
from ..inference.propriety import ImproperPosterior
from ..inference.settings import SamplerSettings
from ..likelihoods.noise import NOISES
from ..likelihoods.registry import resolve_likelihood
from ..measurements.columns import Columns
from ..measurements.compressed import Compressed
from ..measurements.feature_errors import FeatureErrors
from ..measurements.grouped import Sufficient
from ..measurements.groups.cells import Cells
from ..measurements.groups.labels import Groupings
from ..measurements.messages import hinting, shown, warn
from ..measurements.target_errors import CountErrors, ErrorKind, TargetErrors
from ..measurements.weights import Before, rules_out_counts
from ..priors.true_features import resolve_components, resolve_outliers
from .fitted import FittedModel
from .fitting import Fit, fit
from .parameters import untouched_on_error
from .reading import TrainingData, read, sampler_settings, specify

__all__ = ["Seen", "StreamingMixin", "why_rows_are_needed"]

Array = NDArray[np.float64]

# Parameters on which depends what is kept of rows.
_SETTLED = (
    "noise", "count_error", "error_floor", "count_column", "y_err_column", "error_columns", "group_column",
    "group_slopes",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Seen:
    """All that a fit needs of the rows that were seen; of the size of the model, not of the table."""

    sufficient: Sufficient
    columns: Columns
    weights: Before
    kind: ErrorKind
    feature_errors: FeatureErrors | None
    """The same for all rows."""
    settled: dict[str, Any]
    """Parameters on which it depends."""
    groupings: Groupings | None = None
    """The groups of the rows so far."""

    @classmethod
    def of(
        cls,
        model: Any,
        data: TrainingData,
        state: Compressed | None = None,
        standard_error: Array | None = None,
        cells: Callable[[Array], Cells | None] | None = None,
    ) -> Seen:
        """Return what is kept of rows.

        Parameters
        ----------
        model : BayesianErrorsInVariablesRegressor
            Its parameters say what the errors are.
        data : TrainingData
        state : Compressed, optional
            Of the rows under their standard errors, where it is known.
        standard_error : ndarray of shape (n,), optional
            Errors of shares, where they are settled already.
        cells : callable, optional
            As for `Sufficient.of`.

        Raises
        ------
        ValueError
            Where a fit needs the rows themselves, naming the reason and what to do instead.
        """
        if data.errors.correlated is not None:
            raise ValueError(
                "Rows can't be added batch by batch: their errors are correlated (y_cov, y_shared_err). Call fit with"
                " all rows."
            )
        counted = data.errors.counts is not None and standard_error is None
        of_features = data.feature_errors
        reason = why_rows_are_needed(model, counted=counted, of_features=of_features)
        if reason is not None:
            raise ValueError(f"Rows can't be added batch by batch: {reason}.")
        errors = data.errors
        known: Array | float | None = errors.standard_error if standard_error is None else standard_error
        if counted and errors.counts is not None:
            known = CountErrors(float(model.error_floor)).at_observed(data.rows.y, errors.counts)
        by_kind = of_features is not None or (NOISES[model.noise].only_scatters and known is not None)
        slopes = None if data.groupings is None else data.groupings.slopes
        try:
            sufficient = Sufficient.of(
                data.rows, known, by_kind=by_kind, whole=state, slopes=slopes, cells=cells
            )
        except ValueError as error:
            raise ValueError(f"Rows can't be added batch by batch: {error}.") from None
        settled = {name: getattr(model, name) for name in _SETTLED}
        common = None if of_features is None else of_features.common()
        no_counts = errors.counts is None and rules_out_counts(data.rows.y, errors.frequency)
        before = Before(errors.weight_type, no_counts)
        return cls(sufficient, data.columns, before, errors.kind, common, settled, data.groupings)

    def merged(self, other: Seen) -> Seen:
        """Return what is kept of these rows and others.

        Raises
        ------
        ValueError
            Where they don't go together.
        """
        names = list(self.columns.names), list(other.columns.names)
        if names[0] != names[1]:
            raise ValueError(
                f"These rows have the columns {names[1]}, those before {names[0]}: give all of them the same columns."
            )
        if self.weights.weight_type != other.weights.weight_type:
            raise ValueError(
                f"The weights of these rows were taken as {other.weights.weight_type!r}, those of the rows before as"
                f" {self.weights.weight_type!r}: set weight_type, and fit again."
            )
        if self.kind != other.kind:
            said = {"counts": "counts", "standard_error": "standard errors of y", "none": "no errors of y"}
            raise ValueError(
                f"The rows before came with {said[self.kind]}, and these come with {said[other.kind]}: give y_err (or"
                " the counts) with every batch, or with none."
            )
        if not _same(self.feature_errors, other.feature_errors):
            raise ValueError(
                "The errors of X are not those of the rows before, and batches can only be added up where all rows"
                " have the same: give the same X_err (or X_cov) with every batch, or call fit with all rows."
            )
        first, second, groupings = self.sufficient, other.sufficient, self.groupings
        if groupings is not None and other.groupings is not None:
            groupings, places = groupings.merged(other.groupings)
            first, second = first.moved(places[0]), second.moved(places[1])
        try:
            sufficient = first.merged(second)
        except ValueError as error:
            raise ValueError(f"Rows can't be added batch by batch: {error}.") from None
        weights = self.weights._replace(no_counts=self.weights.no_counts or other.weights.no_counts)
        return replace(self, sufficient=sufficient, weights=weights, groupings=groupings)

    def data(self) -> TrainingData:
        """Return rows to fit that stand for all."""
        rows, standard_error, state, typical = self.sufficient.standing()
        errors = TargetErrors(
            rows.frequency, standard_error, None, self.weights.weight_type, self.kind, typical=typical
        )
        return TrainingData(
            rows, self.columns, errors, self.feature_errors, state=state, groupings=self.groupings
        )


def why_rows_are_needed(model: Any, *, counted: bool, of_features: FeatureErrors | None) -> str | None:
    """Return why a fit needs the rows themselves, in a clause that says what to do, or None.

    `counted` says whether errors follow from counts.
    """
    likelihood = resolve_likelihood(model.likelihood)
    if not likelihood.is_normal:
        return (
            f"under {likelihood!r} the density of every row is its own. Call fit with all rows, or use"
            " likelihood='normal'"
        )
    if model.truncation is not None:
        return "with truncation the density of every row is its own. Call fit with all rows"
    if counted and model.count_error == "fitted":
        return (
            "count_error='fitted' takes errors at the shares that all rows together let one expect. Use"
            " count_error='observed', bayes_sklearn.distributed.fit, or fit with all rows"
        )
    if of_features is None:
        return None
    names = ["x_distribution"] if resolve_components(model.x_distribution) != 1 else []
    names += ["x_error_distribution"] if resolve_outliers(model.x_error_distribution) is not None else []
    for name in names:
        return f"{name}={shown(getattr(model, name))} needs every row. Call fit with all rows, or use {name}='normal'"
    if of_features.groups is not None:
        return "rows share readings (X_err_groups). Call fit with all rows"
    if of_features.common() is None:
        return "the errors of X differ from row to row. Call fit with all rows, or give one X_err for all"
    return None


def _same(first: FeatureErrors | None, second: FeatureErrors | None) -> bool:
    """Return whether two tables' features have the same errors."""
    if first is None or second is None:
        return first is second

    def equal(a: Any, b: Any) -> bool:
        return a is b if a is None or b is None else np.array_equal(a, b)

    return (
        equal(first.noisy, second.noisy)
        and equal(first.covariance, second.covariance)
        and equal(first.with_target, second.with_target)
    )


class _AvailableUnless:
    """A method that an instance has unless there is a reason why not.

    scikit-learn's `available_if` is the same, but for the reason, which its error does not say.
    """

    def __init__(self, why_not: Callable[[Any], str | None], method: Callable[..., Any]):
        self.why_not, self.method = why_not, method
        update_wrapper(cast("Callable[..., Any]", self), method)

    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:
            return self.method
        reason = self.why_not(instance)
        if reason is not None:
            raise AttributeError(reason, name=self.method.__name__, obj=instance)
        return MethodType(self.method, instance)


def _why_no_batches(model: Any) -> str | None:
    """Return why a model can't go on with a batch, whatever the batch, or None."""
    seen = getattr(model, "_seen", None)
    if isinstance(seen, str):
        return f"This fit can't be added to. {seen} partial_fit of a clone begins anew."
    try:
        reason = why_rows_are_needed(
            model, counted=model.weight_type == "counts" or model.count_column is not None, of_features=None
        )
    except (TypeError, ValueError):  # a parameter that partial_fit itself refuses
        return None
    return None if reason is None else f"Rows can't be added batch by batch: {reason}."


class StreamingMixin:
    """`partial_fit` and `merge` of an estimator that fits `TrainingData`."""

    inference: str
    _fitted: FittedModel
    _expose: Callable[[Fit, TrainingData, SamplerSettings], None]
    _seen: Seen | str
    """What was seen of the rows; or why it can't be added to."""

    @partial(_AvailableUnless, _why_no_batches)
    @_fit_context(prefer_skip_nested_validation=True)
    @hinting
    def partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        y_err: ArrayLike | float | None = None,
        X_err: ArrayLike | float | None = None,
        X_cov: ArrayLike | None = None,
        Xy_cov: ArrayLike | None = None,
    ) -> Self:
        """Go on with a further batch of rows: exactly what `fit` gives for all rows so far, in any split and order.

        After `fit` it goes on from the rows of that fit, unless that needed the rows themselves. Priors and other
        parameters that have nothing to do with errors may be changed between batches.

        Parameters
        ----------
        X, y, sample_weight, y_err, X_err, X_cov, Xy_cov
            The batch, as for `fit`; one row will do. The errors of X have to be the same for all rows.

        Returns
        -------
        self
            Not fitted yet where all rows so far don't make a posterior, or are but one; a warning says so.

        Raises
        ------
        ValueError, TypeError
            As `fit`; where the batch contradicts those before; where it takes the rows themselves: fitted count
            errors, mixtures of true features, errors of X that differ from row to row, and, under
            ``noise="additive"`` or errors of X, more than 64 different ``y_err``. What was seen before is kept.
        AttributeError
            Where the parameters, or the fit before, rule it out: other likelihoods, fitted count errors. As
            scikit-learn has it, such a model has no ``partial_fit``; the message says why.

        Warns
        -----
        UserWarning, ConvergenceWarning
            As `fit`; and where the rows so far don't make a fit yet.

        Notes
        -----
        All that is kept of the rows is their triangle, (3), of (p + 2)^2 numbers, and where errors are not mere
        weights one for each kind of them: (6) adds a batch, exactly up to floating-point rounding. With
        ``group_column`` also a few rows for each combination of groups, (48a); batches may bring new ones. A batch
        costs as much as its `fit`. ``weight_type="auto"`` is settled by the first batch.

        Examples
        --------
        >>> import numpy as np
        >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor
        >>> X, y = np.arange(6.0)[:, None], np.array([0.1, 0.9, 2.2, 2.8, 4.1, 5.0])
        >>> model = BayesianErrorsInVariablesRegressor(noise="scaled")
        >>> for rows in (slice(0, 2), slice(2, 3), slice(3, 6)):
        ...     model = model.partial_fit(X[rows], y[rows], y_err=0.1)
        >>> bool(np.isclose(model.coef_[0], model.fit(X, y, y_err=0.1).coef_[0], rtol=1e-12))
        True
        """
        before: Seen | None = getattr(self, "_seen", None)
        with untouched_on_error(self):
            if before is not None:
                self._check_settled(before)
            given = {"X_err": X_err, "X_cov": X_cov, "Xy_cov": Xy_cov}
            weights = None if before is None else before.weights
            data = read(
                self,
                X,
                y,
                sample_weight,
                {"y_err": y_err},
                given,
                batch=True,
                before=weights,
                reset=before is None,
            )
            seen = Seen.of(self, data)
            self._learn(seen if before is None else before.merged(seen))
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def merge(self, *others: Any) -> Self:
        """Go on with the rows that other models of the same parameters have seen, as `partial_fit` would.

        Parameters
        ----------
        *others : BayesianErrorsInVariablesRegressor
            Fitted, by `fit` or `partial_fit`, to other rows with the same features. They stay as they are.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            Where one is not fitted, or needed the rows themselves, as in `partial_fit`; where they have other
            features, other kinds of errors or weights, or other parameters that say what errors are.

        Warns
        -----
        UserWarning, ConvergenceWarning
            As `partial_fit`.

        Examples
        --------
        >>> import numpy as np
        >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor
        >>> X, y = np.arange(6.0)[:, None], np.array([0.1, 0.9, 2.2, 2.8, 4.1, 5.0])
        >>> first, second = (BayesianErrorsInVariablesRegressor().fit(X[i::2], y[i::2]) for i in (0, 1))
        >>> whole = BayesianErrorsInVariablesRegressor().fit(X, y)
        >>> bool(np.isclose(first.merge(second).coef_[0], whole.coef_[0], rtol=1e-12))
        True
        """
        with untouched_on_error(self):
            seen: Seen | None = None
            for position, model in enumerate((self, *others)):
                who = "this model" if position == 0 else f"model {position} to merge"
                if not isinstance(model, StreamingMixin):
                    raise TypeError(
                        f"merge takes fitted models of {type(self).__name__}, got {shown(model)}."
                    )
                part = getattr(model, "_seen", None)
                if part is None:
                    raise ValueError(f"merge: {who} is not fitted. Call its fit or partial_fit first.")
                if isinstance(part, str):
                    raise ValueError(f"merge: {who} can't be added to. {part}")
                if seen is None:
                    self._check_settled(seen := part)
                    continue
                self._check_settled(part)
                seen = seen.merged(part)
            if seen is not None:
                self._learn(seen)
        return self

    def _check_settled(self, seen: Seen) -> None:
        """Refuse rows that were seen under other parameters."""
        for name, before in seen.settled.items():
            now = getattr(self, name)
            if now is not before and now != before:
                raise ValueError(
                    f"{name} was {shown(before)} for the rows seen before, and what is kept of them depends on it;"
                    f" now it is {shown(now)}. Set it back, or begin again with fit."
                )

    def _remember(self, data: TrainingData, problem: Problem) -> None:
        """Keep what it takes to go on from a fit; where that is not possible, why."""
        # Errors as given, not those with a root mean square of 1.
        unit = 1.0 if problem.average_error is None else data.errors.root_mean_square

        def cells(origin: Array) -> Cells | None:
            found = cells_of(problem, origin)
            return found and found.with_error(unit)

        try:
            self._seen = Seen.of(self, data, problem.state.with_error(unit), cells=cells)
        except ValueError as reason:
            self._seen = str(reason)

    def _learn(self, seen: Seen) -> None:
        """Fit to what was seen."""
        self._seen = seen
        whole = seen.sufficient.whole
        reason = f"of the rows so far {whole.n_rows} count" if whole.n_rows < 2 else None
        if reason is None and seen.groupings is not None:
            reason = seen.groupings.only_one
        if reason is None:
            try:
                self._fit_seen(seen)
            except ImproperPosterior as error:
                if hasattr(self, "_fitted"):
                    raise
                reason = str(error)
        if reason is not None:
            warn(
                f"Not fitted yet: {reason[:1].lower()}{reason[1:].rstrip('.')}. Go on with partial_fit.",
            )

    def _fit_seen(self, seen: Seen) -> None:
        data, settings = seen.data(), sampler_settings(self)
        fitted = fit(data.rows, data.errors, specify(self, data), self.inference, settings)
        self._expose(fitted, data, settings)

    def __sklearn_is_fitted__(self) -> bool:
        """Return whether there is a posterior; rows may have been seen that don't make one yet."""
        return hasattr(self, "_fitted")
