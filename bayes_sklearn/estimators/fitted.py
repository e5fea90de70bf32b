"""The fitted model: all that a fit leaves behind, and what is read from it.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..inference.chi_square import ChiSquare
from ..inference.exact.engine import contradicted
from ..inference.posterior import Posterior, line_mean
from ..inference.scaling import Scaling
from ..likelihoods.base import Likelihood, Observations
from ..likelihoods.limited import Truncated, selected
from ..likelihoods.noise import Noise
from ..likelihoods.registry import check_takes_exposure
from ..measurements.checks import check_coverage, check_vector
from ..measurements.columns import Columns
from ..measurements.compressed import warn_of_rounding
from ..measurements.correlated.shared_readings import looks_shared
from ..measurements.feature_errors import FeatureErrors, resolve_feature_errors
from ..measurements.groups.labels import Groupings
from ..measurements.limits import sides
from ..measurements.messages import shown, warn
from ..measurements.missing import telling
from ..measurements.target_errors import PREDICTED_PRIOR_COUNT
from ..prediction.correlated.told import check_told, told_by
from ..prediction.distribution import PredictiveDistribution
from ..prediction.gaps import filled_rows, gaps_of, limits_of
from ..prediction.new_measurements import new_rows
from ..prediction.noise import NoiseModel
from .fitting import Attenuation, Fit, warn_of_readings
from .reading import TrainingData
from .tables.effects import effects_table
from .tables.summary import moments, summary_of

__all__ = ["FittedModel", "warn_of_doubts"]

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FittedModel:
    """What a fit has found; of the size of the posterior, not of the table, but for `told`."""

    posterior: Posterior
    """On the data's scale."""
    likelihood: Likelihood
    """Of the population that rows are of."""
    noise_model: NoiseModel
    """What the noise of new measurements is like."""
    columns: Columns
    scaling: Scaling
    seed: int
    """Of whatever is drawn from the posterior."""
    attenuation: Attenuation | None = None
    """Where features have errors."""
    typical_errors: FeatureErrors | None = None
    """Of the training rows' features: those of new rows that state none."""
    chi_square: ChiSquare | None = None
    """Where the target's errors are known outright."""
    truncation: tuple[float, float] | None = None
    """Limits between which targets lie of rows that are in the table."""
    readings_limited: bool = False
    """Whether some readings of features were limits in fit."""
    groupings: Groupings | None = None
    """How rows hang together; None: they do not."""
    spread: Array = field(default_factory=lambda: np.zeros((2, 0)))
    """(2, p) mean and standard deviation of the training rows' features."""
    n_rows: int = 0
    """Training rows that count."""
    told: Any = None
    """What training rows tell of the errors of new ones, by ``y_cov`` or ``y_shared_err``; None: nothing."""
    readings_shared: bool = False
    """Whether rows shared readings of features in fit, by ``X_err_groups``."""

    @classmethod
    def of(cls, fitted: Fit, data: TrainingData, noise: Noise, seed: int) -> FittedModel:
        problem, errors, of_features = fitted.problem, data.errors, data.feature_errors
        used = errors
        if errors.weight_type != "precision":
            used = replace(errors, standard_error=problem.standard_error)
        typical = None
        if of_features is not None:
            typical = telling(of_features, data.rows).typical(errors.frequency)
        at_predicted = replace(fitted.count_errors, prior_count=PREDICTED_PRIOR_COUNT)
        noise_model = NoiseModel(noise, errors.kind, used.root_mean_square, at_predicted)
        known = not noise.has_scale and errors.kind == "standard_error" and problem.likelihood.is_normal
        known &= problem.groupings is None
        return cls(
            fitted.posterior,
            problem.likelihood.population,
            noise_model,
            data.columns,
            problem.scaling,
            seed,
            fitted.attenuation,
            typical,
            ChiSquare.of(fitted.posterior, problem) if known else None,
            problem.truncation,
            of_features is not None and of_features.readings is not None,
            problem.groupings,
            np.array([problem.state.origin + problem.state.mean, problem.state.standard_deviation])[:, :-1],
            problem.state.n_rows,
            told_by(fitted.posterior, problem, noise_model),
            of_features is not None and of_features.groups is not None,
        )

    @property
    def standardized(self) -> bool:
        """Whether priors are on another scale than the data's."""
        return not self.scaling.is_identity

    @property
    def likelihood_of_rows(self) -> Likelihood:
        """Of rows that are in the table, on the data's scale."""
        return selected(self.likelihood, self.truncation)

    @property
    def errors_go_together(self) -> bool:
        """Whether features share their errors with the target."""
        return self.typical_errors is not None and self.typical_errors.with_target is not None

    @property
    def rows_state_feature_errors(self) -> bool:
        """Whether features had errors in fit: not those that were only missing."""
        return self.typical_errors is not None and bool(self.typical_errors.covariance.any())

    def check_exposed(self, exposure: object) -> None:
        """Refuse numbers of events that come without what they were counted over, where those of fit had it.

        Raises
        ------
        ValueError
        """
        fitted_with = self.likelihood.per == "exposure" and self.noise_model.kind == "counts"
        if fitted_with and exposure is None and "exposure_column" not in self.columns.special:
            raise ValueError(
                "The model was fitted with exposures: give exposure, what the events in y were counted over."
            )

    def predictive(
        self,
        table: NDArray[Any],
        counts: Any,
        y_err: Any,
        of_features: Mapping[str, Any],
        *,
        include_noise: bool,
        index: Any,
        exposure: Any = None,
        members: NDArray[np.intp] | None = None,
        in_common: Mapping[str, Any] | None = None,
        complete: bool = False,
    ) -> PredictiveDistribution:
        """Return the predictive distribution of new rows, what they state of their errors checked.

        `complete` says that none lacks a feature.
        """
        told = check_told(self.told, len(table), in_common or {})
        held = self.columns.held(table)
        gaps = None if complete else gaps_of(table, self.columns, self.posterior)
        check_takes_exposure(self.likelihood, exposure, held)
        stated = held.get("y_err_column", y_err)
        if of_features["Xy_cov"] is not None and stated is not None:
            stated = check_vector(stated, len(table), "y_err")
        of_errors = held.keys() - {"y_censored_column"}
        nothing_stated = (
            counts is None and stated is None and not of_errors and self.likelihood.has_noise_scale
        )
        of_features = dict(of_features)
        limits = limits_of(table, of_features.pop("X_censored"), self.columns, self.posterior)
        if limits is not None and of_features["Xy_cov"] is not None:
            raise ValueError("X_censored and Xy_cov don't go together in new rows: leave one of them out.")
        errors = self.new_feature_errors(
            table, **of_features, y_err=stated, as_in_fit=nothing_stated and limits is None, gaps=gaps
        )
        distribution = new_rows(
            self.likelihood,
            self.posterior,
            self.noise_model,
            filled_rows(table, gaps, self.columns, self.posterior),
            self.columns.features,
            counts=counts,
            y_err=y_err,
            exposure=exposure,
            columns=held,
            feature_error=errors,
            feature_limits=limits,
            members=members,
            include_noise=include_noise,
            seed=self.seed,
            index=index,
            told=self.told if told else None,
            common=told,
        )
        behind = np.asarray(held.get("count_column", 1.0 if counts is None else counts))
        if behind.ndim and not behind.all():
            distribution.measured = behind.ravel() > 0.0
        if "y_censored_column" in held:
            distribution.censored = sides(held["y_censored_column"], len(table), "y_censored_column")
        return distribution

    def new_feature_errors(
        self,
        table: NDArray[Any],
        X_err: Any = None,
        X_cov: Any = None,
        Xy_cov: Any = None,
        *,
        y_err: Any = None,
        as_in_fit: bool = False,
        gaps: NDArray[np.bool_] | None = None,
    ) -> Array | None:
        """Return the covariances of the errors of new rows' features, (q, q) or (n, q, q), or None.

        They are those stated, or else those of the training rows, and infinite where features were not measured.
        Those with the target's error are a last column: of the training rows' where `as_in_fit` says that no other
        error of the target is stated.
        """
        names, columns = self.columns.feature_names.tolist(), self.columns.held_errors(table)
        stated = {"X_err": X_err, "X_cov": X_cov, "Xy_cov": Xy_cov}
        given = resolve_feature_errors(
            len(table), names, **stated, columns=columns, y_err=y_err, missing=gaps
        )
        if X_err is None and X_cov is None and columns is None:
            given = self.typical_errors
            if given is not None and not as_in_fit:
                given = replace(given, with_target=None)
            if given is not None and gaps is not None:
                given = given.not_measured(gaps[:, given.noisy])
        true = self.posterior.true_features
        if given is None:
            return None
        fitted = np.zeros(0, dtype=np.intp) if true is None else true.noisy
        beyond = np.setdiff1d(given.noisy, fitted)
        if len(beyond):
            source = "X_err" if X_err is not None else "X_cov" if X_cov is not None else "error_columns"
            raise ValueError(
                f"{source}: errors are given of {names[beyond[0]]!r}, which was fitted without: how its true values"
                " are distributed is not known. Fit with its errors, too."
            )
        return given.among(fitted)

    def summary(self, coverage: float) -> pd.DataFrame:
        """Return means, standard deviations and equal-tailed limits, as `summary` of the estimator says.

        Raises
        ------
        ValueError
            Where the coverage is not between 0 and 1.
        """
        check_coverage(coverage)
        table = summary_of(
            self.posterior,
            self.columns.feature_names.tolist(),
            coverage,
            self.attenuation,
            noise=self.likelihood.has_noise_scale,
        )
        if self.posterior.effects is not None:
            names = dict(zip(self.posterior.effects.by_key, self._scale_names(), strict=True))
            table = table.rename(index={key: f"group_std[{name}]" for key, name in names.items()})
        if self.chi_square is not None:
            table.attrs["reduced_chi_square"] = self.chi_square.reduced
        return table

    def _scale_names(self) -> list[str]:
        features = self.columns.feature_names.tolist()
        return [] if self.groupings is None else [name for *_, name in self.groupings.terms(features)]

    def group_std(self) -> pd.Series:
        """Return posterior means of the standard deviations of the groups' effects."""
        import pandas as pd

        if self.posterior.effects is None:
            raise AttributeError("The model was fitted without group_column: it has no group_std_.")
        scales = self.posterior.effects.by_key
        found = [moments(self.posterior, key, {key: values})[0] for key, values in scales.items()]
        return pd.Series(found, index=self._scale_names(), name="group_std_")

    def group_effects(self, coverage: float = 0.95) -> pd.DataFrame:
        """Return the groups' effects, a row each."""
        if self.groupings is None:
            raise AttributeError("The model was fitted without group_column: it has no group_effects_.")
        return effects_table(self.posterior, self.groupings, self.columns, coverage)


def warn_of_doubts(fitted: Fit, model: FittedModel) -> None:
    """Warn where a posterior is not to be trusted as it stands.

    Parameters
    ----------
    fitted : Fit
        With the problem, in the model's units.
    model : FittedModel
    """
    _warn_if_errors_too_small(model)
    if model.chi_square is not None:
        _warn_if_no_fit(model.chi_square)
    _warn_if_contradicted(fitted)
    _warn_of_selection(fitted)
    names = model.columns.feature_names
    if model.attenuation is not None:
        _warn_if_errors_hide_features(model.attenuation, names)
        warn_of_readings(fitted, names)
        _warn_of_shared_readings(fitted, names)
    known = model.noise_model.kind == "standard_error" and fitted.problem.correlated is None
    warn_of_rounding(fitted.problem.state, names.tolist(), errors_known=known)


def _warn_of_shared_readings(fitted: Fit, names: NDArray[np.object_]) -> None:
    """Warn where rows look as if they shared readings, and nobody said so."""
    problem, errors, rows = fitted.problem, fitted.problem.feature_errors, fitted.problem.rows
    if errors is None or errors.groups is not None or problem.groupings is not None:
        return
    if not problem.likelihood.is_normal or problem.unmeasured is not None or errors.readings is not None:
        return
    found = looks_shared(rows, errors, problem.standard_error)
    if found is not None:
        n, count = found
        named = ", ".join(map(shown, names[errors.noisy][:3]))
        warn(
            f"{n} rows have {count} readings of {named}, and targets of one reading are correlated beyond chance,"
            " as where each was measured once for many rows. That is one error, not many, and the slope's interval is"
            " too narrow: give X_err_groups, labels of what was measured.",
        )


def _warn_if_contradicted(fitted: Fit) -> None:
    """Warn of a fixed prior whose scale the data contradict."""
    # Log evidence that is "strong" for Kass & Raftery 1995, J. Am. Stat. Assoc. 90:773-795.
    strong = 3.0
    found = contradicted(fitted.problem, fitted.posterior) if fitted.engine == "exact" else None
    if found is not None and found.nats > strong and found.scale > 2.0:
        # Round figures: the folds of a search say the same, which is shown once.
        wider, nats = 2.0 ** np.floor(np.log2(found.scale)), 10.0 ** np.floor(np.log10(found.nats))
        warn(
            f"The data contradict coef_prior={fitted.problem.coef_prior!r}: a prior more than {wider:,g} times as"
            f" wide explains them better by more than {max(nats, strong):,g} nats, and under this one"
            " coefficients and intervals are not to be trusted. Use coef_prior=None, whose scale is learned, or"
            " Normal(sigma=HalfCauchy()).",
        )


def _warn_of_selection(fitted: Fit) -> None:
    """Warn of limits that select the whole population, and of tails that are not known where they cut off."""
    problem, posterior = fitted.problem, fitted.posterior
    if problem.truncation is None:
        return
    if problem.feature_errors is not None and "nu" in posterior.auxiliary:
        warn(
            "Rows were selected by y, features have errors, and the noise's degrees of freedom are learned: of tails"
            " that were cut off hardly anything is known, and intervals cover too little (counted: 63 to 75% of 90%)."
            " Give them: likelihood=StudentTLikelihood(nu=5).",
        )
    # That many rows were not selected, where the parameters are what they are in the mean.
    rows, of_population = problem.rows, selected(problem.likelihood, problem.truncation)
    if not isinstance(of_population, Truncated):  # for the type checker
        raise AssertionError
    line = line_mean(posterior, rows)
    weights, means = posterior.weights, {"noise_scale": posterior.noise_scale, **posterior.auxiliary}
    if posterior.scatter is not None:
        means["scatter"] = posterior.scatter
    values = {name: np.asarray(weights @ drawn) for name, drawn in means.items()}
    error = 1.0 if problem.standard_error is None else problem.standard_error
    trials = 1.0 if problem.trials is None else problem.trials
    data = Observations(rows.y, error, problem.noise, trials)
    found = of_population.log_selected(line, values, data)
    if -np.expm1(found).sum() < 0.01:
        lower, upper = problem.truncation
        limit = " and ".join(f"{end:g}" for end in (lower, upper) if np.isfinite(end))
        warn(
            f"truncation says nothing: of the population that these rows are of, next to none lies beyond {limit}."
            " Check the limit's unit, or leave it out.",
        )


def _warn_if_errors_hide_features(found: Attenuation, names: NDArray[np.object_]) -> None:
    """Warn of a feature of which the data hardly tell how much is true."""
    hidden = found.hidden
    for name, share, error in zip(
        names[hidden], found.of_its_own[hidden], found.of_its_own_error[hidden], strict=True
    ):
        warn(
            f"The errors of {shown(name)} hide it: {share:.2g} +- {error:.1g} of the variance that it has beside the"
            " exact features is true, and that is too little known for a coefficient and a line that do not rest on"
            " priors. Check the errors' unit; measure it better, oftener or in more rows; or leave it out.",
        )


def _warn_if_no_fit(found: ChiSquare) -> None:
    """Warn of known errors that leave the rows too far from the line."""
    if found.probability < 1e-4:
        warn(
            f"noise='known', but the stated errors do not explain how far rows lie from the line: the reduced"
            f" chi-square (MSWD) is {found.reduced:.3g}, about 1 where they do. Intervals are too narrow: check the"
            " errors' unit, or use noise='auto', which finds what they leave out.",
        )


def _warn_if_errors_too_small(model: FittedModel) -> None:
    """Warn where known errors had to be multiplied by a lot."""
    noise, posterior = model.noise_model.noise, model.posterior
    if not noise.multiplies or noise.of_features or not model.likelihood.has_noise_scale:
        return
    if model.noise_model.kind == "none":
        return
    multiple = float(posterior.weights @ posterior.noise_scale)
    if multiple > 2.5:
        left_out = " (noise='auto', a larger error_floor)" if noise.only_multiplies else ""
        warn(
            f"The stated errors look too small: the noise scale is {multiple:.3g} times them. Check their"
            f" unit, or add what they leave out{left_out}; the prior HalfNormal(1) holds the scale down, so that"
            " intervals may be too narrow.",
        )
