"""Whether a model's posteriors are calibrated: fits to data that the model itself makes.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from numbers import Integral
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.utils import check_random_state
from sklearn.utils.validation import _num_samples

from ..estimators.fitting import Specification, settle
from ..estimators.reading import TrainingData, read, sampler_settings, specify
from ..estimators.regressor import BayesianErrorsInVariablesRegressor
from ..inference import choose
from ..inference.scaling import PriorUnits
from ..likelihoods.base import Likelihood
from ..likelihoods.registry import resolve_likelihood
from ..measurements.checks import check_counts, check_vector
from ..measurements.messages import shown
from .ranks import LOG_LIKELIHOOD, Outcome, run, uniformity_p_value
from .simulation import Simulation

__all__ = ["SimulationBasedCalibration", "simulation_based_calibration"]

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class SimulationBasedCalibration:
    """What `simulation_based_calibration` found; print it, or take `to_frame`.

    Attributes
    ----------
    ranks : DataFrame of shape (n_simulations, n_parameters)
        Posterior probability of less than the true value (the rank of the true value in the posterior, as a share):
        one row per simulation, uniform between 0 and 1 where posteriors are calibrated. Columns ``intercept``, the
        coefficients, ``noise_scale`` and further parameters of the likelihood, ``prior_scale`` where it is learned
        (in the units of the priors), ``log_likelihood``; NaN where a fit failed.
    parameters : DataFrame of shape (n_simulations, n_parameters)
        The true values, on the data's scale, and the log density of the simulated targets at them.
    p_values : Series of shape (n_parameters,)
        How probable ranks as far from uniform are, of calibrated posteriors, one parameter at a time.
    p_value : float
        The least of them, times their number (Bonferroni): of calibrated posteriors it is below 1% in at most 1% of
        calls, however many parameters there are and however their ranks depend on each other.
    n_simulations : int
    failures : dict of str to int
        Errors that fits raised, and how often. Their simulations have no ranks: if there are many, those left are no
        fair sample.
    warnings : dict of str to int
        Warnings of fits, numbers in them left out, and how many fits had them. These fits do count.
    engines : dict of str to int
        The engines that ran, and how often.
    notes : tuple of str
        What the simulation takes as known or draws otherwise than the model states it.

    Examples
    --------
    >>> import numpy as np
    >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor
    >>> from bayes_sklearn.validation import simulation_based_calibration
    >>> X = np.linspace(-1.0, 1.0, 12)[:, None]
    >>> model = BayesianErrorsInVariablesRegressor(noise="known")
    >>> found = simulation_based_calibration(model, X, y_err=0.3, n_simulations=20, random_state=0)
    >>> found.ranks.shape, found.engines
    ((20, 4), {'exact': 20})
    """

    ranks: pd.DataFrame
    parameters: pd.DataFrame
    p_values: pd.Series
    p_value: float
    n_simulations: int
    failures: dict[str, int]
    warnings: dict[str, int]
    engines: dict[str, int]
    notes: tuple[str, ...]

    def to_frame(self) -> pd.DataFrame:
        """Return one row per parameter: p value, mean rank, and how often central intervals held the true value.

        A mean above 0.5 says that posteriors lie too low; intervals that hold the truth less often than they claim,
        that posteriors are too narrow. The columns ``coverage_50%`` and ``coverage_90%`` are shares of simulations.

        Examples
        --------
        >>> import numpy as np
        >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor
        >>> from bayes_sklearn.validation import simulation_based_calibration
        >>> X = np.linspace(-1.0, 1.0, 12)[:, None]
        >>> model = BayesianErrorsInVariablesRegressor(noise="known")
        >>> found = simulation_based_calibration(model, X, y_err=0.3, n_simulations=20, random_state=0)
        >>> found.to_frame().columns.tolist()
        ['p_value', 'mean_rank', 'coverage_50%', 'coverage_90%']
        """
        coverages = (0.5, 0.9)
        import pandas as pd

        ranks = self.ranks.dropna()
        held = {
            f"coverage_{100.0 * coverage:g}%": ((ranks - 0.5).abs() <= 0.5 * coverage).mean()
            for coverage in coverages
        }
        return pd.DataFrame({"p_value": self.p_values, "mean_rank": ranks.mean(), **held})

    def __str__(self) -> str:
        done = len(self.ranks.dropna())
        ran = ", ".join(f"{count} {engine}" for engine, count in self.engines.items())
        lines = [
            f"Simulation-based calibration: {done} of {self.n_simulations} simulations fitted ({ran})",
            f"p value of uniform ranks, all parameters: {self.p_value:.3g}",
            "",
            self.to_frame().round(4).to_string(),
        ]
        for title, counted in (("Failures", self.failures), ("Warnings", self.warnings)):
            if counted:
                lines += ["", f"{title}:", *(f"{count:6} x {text}" for text, count in counted.items())]
        if self.notes:
            lines += ["", "Notes:", *(f"- {note}" for note in self.notes)]
        return "\n".join(lines)

    __repr__ = __str__


def simulation_based_calibration(
    estimator: BayesianErrorsInVariablesRegressor,
    X: Any,
    y: ArrayLike | None = None,
    *,
    counts: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    y_err: ArrayLike | float | None = None,
    X_err: ArrayLike | float | None = None,
    X_cov: ArrayLike | None = None,
    Xy_cov: ArrayLike | None = None,
    X_censored: ArrayLike | None = None,
    exposure: ArrayLike | float | None = None,
    y_censored: ArrayLike | None = None,
    y_upper: ArrayLike | None = None,
    targets: Literal["model", "binomial"] = "model",
    n_simulations: int = 200,
    random_state: int | np.random.RandomState | None = None,
    n_jobs: int | None = None,
    verbose: int = 0,
) -> SimulationBasedCalibration:
    """Check on data that the model itself makes whether its posteriors are calibrated, for your own design.

    Again and again parameters are drawn from the estimator's priors, and a target (with errors of features: measured
    features, too) from the model with these parameters, for the rows, errors and counts given. The model is fitted to
    it, by the code that `fit` runs. If everything is right, the true values' ranks in the posteriors are uniform,
    exactly, for any number of rows [1]_ [2]_; so are those of the log likelihood at the true values, by which a
    posterior that uses too little of the data is detected [3]_. If not, an engine or its settings (too few draws,
    say) are wrong for this design. It is no judgement of whether the model is right for the real data: for that see
    `audit_errors` and `loo`.

    *What the priors are drawn for.* A fit takes some numbers from its data before it has priors: with
    ``standardize=True`` means and spreads of features and target; the features' correlations, for a prior that
    follows these; with errors of features the spread of what was measured, in units of which the true features'
    distribution has its priors. Taken anew from each simulated table,
    they would make another prior of each, from which no parameters can be drawn beforehand. They are therefore taken
    once, from X and y, and kept in all fits: what is checked is the fit with this prior. Nothing else is
    changed.

    *Counts under the normal likelihood.* Errors that follow from fitted or observed shares use the target twice, and
    belong to no model that data could be drawn from. ``targets="model"`` takes them as a fit to y settles them,
    and as known from then on: this is exact, and says nothing of ``count_error``. ``targets="binomial"`` draws
    counts from the binomial distribution about the line, and fits them with the estimator's own errors: whether
    intervals of coefficients are right for such shares, approximately calibrated at best. Lines that are no shares in
    some row are drawn anew, and `notes` says how many were. The noise scale has no true value there, and neither it
    nor the likelihood has a rank.

    Parameters
    ----------
    estimator : BayesianErrorsInVariablesRegressor
        Fitted or not; it stays as it is. Priors have to be proper (but for a flat one of an intercept that a shift of
        the target shifts, for which 0 stands, in the units of the priors: ranks do not depend on it), and a mixture
        of true features needs its number of components (``Mixture(n_components=...)``).
    X : array-like of shape (n, k)
        As for `fit`: features, and the columns named by ``count_column``, ``y_err_column`` and ``error_columns``. The
        values of features with errors are replaced in each simulation.
    y : array-like of shape (n,), optional
        Your target, of which the units are taken: mean and spread (and errors of shares). None: mean 0 and spread 1,
        so that with ``standardize=True`` errors of the target are in units of its spread.
    counts : array-like of shape (n,), optional
        Numbers behind shares, if no column holds them.
    sample_weight : array-like of shape (n,), optional
        How often each row counts, whole numbers: such a row is simulated, and fitted, as so many rows with the same
        features, errors and counts.
    y_err, X_err, X_cov, Xy_cov, exposure : optional
        Known errors, as for `fit`.
    y_censored, y_upper : array-like of shape (n,), optional
        Limits in y, as for `fit`: simulated targets are seen as limits where these hold, and else as they are.
    X_censored : array-like of shape (n, p), optional
        Limits in X, as for `fit`, of simulated readings in the same way.
    targets : {"model", "binomial"}, default="model"
        What shares with counts are drawn from under the normal likelihood, see above. Of no other meaning.
    n_simulations : int, default=200
        An exact fit takes a few milliseconds. With 200 simulations intervals that hold 90% are distinguished from
        ones that hold 80%; with 1,000 from ones that hold 86%.
    random_state : int, RandomState instance or None, default=None
        The same numbers for any `n_jobs`.
    n_jobs : int, default=None
        Processes of joblib; None is one, -1 as many as there are cores. Each compiles models of NUTS for itself.
    verbose : int, default=0
        How much joblib says of progress; 10 says much.

    Returns
    -------
    SimulationBasedCalibration

    Raises
    ------
    TypeError, ValueError
        For bad input, naming the argument; for flat priors, from which nothing can be drawn; where all fits fail.

    Notes
    -----
    After exact fits and importance sampling the rank is the posterior's distribution function. Draws of NUTS depend
    on each other: of every chain each k-th is taken, k = draws / effective draws of the parameter with the fewest
    (bulk and tail), and the true value's place among them at random between its neighbours, (64). The log likelihood
    is ranked among draws after any engine; features with errors enter it as measured.

    The test is that of [4]_: the empirical distribution function of the ranks against its simultaneous band.

    References
    ----------
    .. [1] Cook, Gelman & Rubin (2006), "Validation of software for Bayesian models using posterior quantiles",
       Journal of Computational and Graphical Statistics 15, 675-692.
    .. [2] Talts, Betancourt, Simpson, Vehtari & Gelman (2018), "Validating Bayesian inference algorithms with
       simulation-based calibration", arXiv:1804.06788.
    .. [3] Modrák, Moon, Kim, Bürkner, Huurre, Faltejsková, Gelman & Vehtari (2025), "Simulation-based calibration
       checking for Bayesian computation: the choice of test quantities shapes sensitivity", Bayesian Analysis 20,
       461-488.
    .. [4] Säilynoja, Bürkner & Vehtari (2022), "Graphical test for discrete uniformity and its applications in
       goodness-of-fit evaluation and multiple sample comparison", Statistics and Computing 32:32.

    Examples
    --------
    >>> import numpy as np
    >>> from bayes_sklearn import BayesianErrorsInVariablesRegressor
    >>> from bayes_sklearn.validation import simulation_based_calibration
    >>> X = np.linspace(-1.0, 1.0, 12)[:, None]
    >>> model = BayesianErrorsInVariablesRegressor()
    >>> found = simulation_based_calibration(model, X, y_err=0.3, n_simulations=100, random_state=0)
    >>> found.ranks.columns.tolist()
    ['intercept', 'x0', 'noise_scale', 'scatter', 'prior_scale', 'log_likelihood']
    >>> bool(found.p_value > 0.01)
    True
    """
    import pandas as pd

    _check(estimator, targets, n_simulations)
    model = clone(estimator)
    given = {"X_err": X_err, "X_cov": X_cov, "Xy_cov": Xy_cov, "X_censored": X_censored}
    of_target = {"y_err": y_err, "exposure": exposure, "y_censored": y_censored, "y_upper": y_upper}
    simulation, names, notes = _settled(model, X, y, counts, sample_weight, of_target, given, targets)
    settings = replace(sampler_settings(model), seed=check_random_state(random_state).randint(2**31 - 1))
    choose(simulation.problem, model.inference)
    n, tries = int(n_simulations), simulation.tries
    drawn = simulation.parameters(n * tries, np.random.default_rng([settings.seed, n]))
    parts = np.array_split(np.arange(n), min(n, 64))  # `verbose` says how many are done
    of_parts = (drawn.at(slice(part[0] * tries, (part[-1] + 1) * tries)) for part in parts)
    jobs = zip(parts, of_parts, strict=True)
    found = Parallel(n_jobs=n_jobs, verbose=verbose)(
        delayed(run)(simulation, part, here, model.inference, settings) for part, here in jobs
    )
    outcomes: list[Outcome] = list(chain.from_iterable(found))
    failures = _failures(outcomes)
    first = int(not model.fit_intercept)
    columns = ["intercept", *names, *simulation.ranked][first:]
    columns += [] if simulation.binomial else [LOG_LIKELIHOOD]
    ranks = _frame([outcome.ranks for outcome in outcomes], columns, first)
    values = _frame([outcome.values for outcome in outcomes], columns, first)
    if simulation.binomial:
        used = sum(outcome.tries for outcome in outcomes)
        notes = (*notes, f"{used - n} of {used} lines were no shares in some row and drawn anew.")
    p_values = pd.Series(map(uniformity_p_value, ranks.dropna().to_numpy().T), index=columns, name="p_value")
    return SimulationBasedCalibration(
        ranks=ranks,
        parameters=values,
        p_values=p_values,
        p_value=float(min(1.0, len(p_values) * p_values.min())),
        n_simulations=n,
        failures=dict(failures.most_common()),
        warnings=dict(Counter(text for outcome in outcomes for text in outcome.warnings).most_common()),
        engines=dict(Counter(outcome.engine for outcome in outcomes if outcome.engine).most_common()),
        notes=notes,
    )


def _failures(outcomes: Sequence[Outcome]) -> Counter[str]:
    """Return how many simulations failed, by what was said; refuse where all did."""
    failures = Counter(outcome.error for outcome in outcomes if outcome.error)
    if failures.total() == len(outcomes):
        reason, count = failures.most_common(1)[0]
        raise ValueError(f"Every simulation failed, {count} of {len(outcomes)} so: {reason}")
    return failures


def _frame(rows: Sequence[Array | None], columns: list[str], first: int) -> pd.DataFrame:
    """Return a row per simulation, NaN where it failed, without what is before the first column."""
    import pandas as pd

    nothing = np.full(len(columns) + first, np.nan)
    return pd.DataFrame(
        [(nothing if row is None else row)[first:] for row in rows],
        columns=columns,
        index=pd.RangeIndex(len(rows), name="simulation"),
    )


def _check(estimator: object, targets: object, n_simulations: object) -> None:
    """Refuse what is no estimator of ours, and settings that are none."""
    if not isinstance(estimator, BayesianErrorsInVariablesRegressor):
        remedy = "it is for this regressor alone."
        if hasattr(estimator, "named_steps"):
            remedy = (
                "give the Pipeline's last step, and X as the steps before make it:"
                " simulation_based_calibration(pipe[-1], pipe[:-1].transform(X))."
            )
        elif hasattr(estimator, "estimator") or hasattr(estimator, "best_estimator_"):
            remedy = "give one candidate of the search, such as its best_estimator_."
        raise TypeError(
            f"estimator must be a BayesianErrorsInVariablesRegressor, got {type(estimator).__name__}: {remedy}"
        )
    if targets not in ("model", "binomial"):
        raise ValueError(f"targets must be 'model' or 'binomial', got {shown(targets)}.")
    if not isinstance(n_simulations, Integral) or isinstance(n_simulations, bool) or n_simulations < 1:
        raise ValueError(f"n_simulations must be a whole number from 1, got {shown(n_simulations)}.")


def _settled(
    model: BayesianErrorsInVariablesRegressor,
    X: Any,
    y: ArrayLike | None,
    counts: ArrayLike | None,
    sample_weight: ArrayLike | None,
    of_target: Mapping[str, Any],
    feature_errors: Mapping[str, Any],
    targets: str,
) -> tuple[Simulation, list[str], tuple[str, ...]]:
    """Return the model with all that a fit would take from its data settled, the features' names, and notes."""
    n = _num_samples(X)
    if counts is not None:
        counts = check_vector(counts, n, "counts", scalar=False)
        check_counts(counts, "counts")
        if model.count_column is not None:
            raise ValueError("counts is given, but X holds them, too, in its count_column: leave counts out.")
    # What weights are is said here, not guessed from the target.
    model.weight_type = "frequency" if counts is None else "counts"
    model._validate_params()
    likelihood = resolve_likelihood(model.likelihood)
    target = _in_place_of_target(likelihood, n, of_target) if y is None else y
    data = read(model, X, target, counts, of_target, feature_errors)
    if sample_weight is not None:
        data = _with_frequency(data, check_vector(sample_weight, n, "sample_weight", scalar=False))
    data = data.repeated()
    specification, errors = specify(model, data), data.errors
    if data.feature_errors is not None and specification.n_components is None:
        raise ValueError(
            "x_distribution='mixture' chooses its number of components by the data, which is no model to draw data"
            " from: use x_distribution=Mixture(n_components=2), say."
        )
    counted = errors.counts is not None and not likelihood.counted
    if targets == "binomial" and not (counted and likelihood.is_normal):
        raise ValueError(
            "targets='binomial' is for shares with counts under the normal likelihood: give counts (or count_column)"
            f" and likelihood='normal', or leave targets out; got likelihood={shown(model.likelihood)}."
        )
    if counted and y is None and (targets == "model" or model.standardize):
        raise ValueError(
            "y is needed with counts under the normal likelihood: errors of shares, and the units of the priors, are"
            " taken from it. Give y, the shares, or use a likelihood of shares ('binomial', 'beta_binomial')."
        )
    notes: tuple[str, ...] = ()
    if counted and targets == "model":
        settled = settle(data.rows, errors, specification, model.inference, sampler_settings(model))
        known = replace(errors, counts=None, standard_error=settled.standard_error, kind="standard_error")
        data = data._replace(errors=known)
        notes = (
            "Errors of shares are those that a fit to y settles, taken as known; what count_error does is not tested"
            " (targets='binomial' does).",
        )
    elif counted:
        notes = (
            "Shares are binomial about the line; the model's errors of shares are approximations to that.",
        )
    specification = replace(specification, prior_units=_prior_units(data, specification, y is not None))
    simulation = Simulation(data, specification, binomial=counted and targets == "binomial")
    simulation.check()
    return simulation, data.columns.feature_names.tolist(), notes


def _in_place_of_target(likelihood: Likelihood, n: int, of_target: Mapping[str, Any]) -> Array:
    """Return targets that are not constant, whole numbers but of proportions; refuse limits, which are of some."""
    if of_target["y_censored"] is not None or of_target["y_upper"] is not None:
        raise ValueError("y_censored (or y_upper) says of which rows y has limits: give y, too.")
    inside = not likelihood.counted and not likelihood.has_noise_scale
    target: Array = np.arange(n, dtype=np.float64)
    target %= 2.0
    return 0.25 + 0.5 * target if inside else target


def _prior_units(data: TrainingData, specification: Specification, target: bool) -> PriorUnits:
    """Return what the priors are in units of; where there is no target, its mean is 0 and its spread 1."""
    error = data.errors.standard_error
    state = specification.problem(data.rows, 1.0 if error is None else error, None).state
    mean, spread = state.mean + state.origin, state.standard_deviation.copy()
    if not target:
        mean[-1], spread[-1] = 0.0, 1.0
    units = PriorUnits(mean, spread)
    # Rates have a unit, whether there is a target or not.
    if specification.likelihood.counted and (target or specification.likelihood.per == "exposure"):
        units = replace(units, pooled_mean=specification.problem(data.rows, None, None).pooled_mean)
    # The features' correlations, too, are those of this table, in these units.
    settled = replace(specification, prior_units=units).problem(data.rows, error, None)
    return replace(units, design=settled.prior_design)


def _with_frequency(data: TrainingData, weight: Array) -> TrainingData:
    """Return data whose rows count so often."""
    broken = weight != np.rint(weight)
    if broken.any():
        row = int(np.flatnonzero(broken)[0])
        raise ValueError(
            f"sample_weight must be whole numbers, got {weight[row]:g} in row {row}: a row that counts k times is"
            " simulated k times. Round them, or leave sample_weight out; the counts behind shares go into counts."
        )
    seen = data.errors.frequency
    frequency = weight if seen is None else weight * seen
    if np.count_nonzero(frequency) < 2:
        raise ValueError("sample_weight leaves fewer than two rows: at least two need a positive one.")
    return data.weighted(frequency)
