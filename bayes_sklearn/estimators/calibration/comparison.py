"""Two methods that measured the same samples: their line, its bias, and their limits of agreement.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from scipy.stats import qmc

from ...measurements.checks import as_floats, check_coverage
from ...measurements.messages import hinting, shown
from ...prediction.mixtures.normal import NormalMixture
from ..regressor import BayesianErrorsInVariablesRegressor
from .method_readings import REPLICATE_ERRORS, Readings, readings_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MethodComparison", "compare_methods"]

Array = NDArray[np.float64]

# Parameters of models in which errors of x are taken as they are found.
_OTHER_MODELS = {
    "likelihood", "inference", "intercept_prior", "truncation", "x_distribution", "x_error_distribution"
}  # fmt: skip


@hinting
def compare_methods(
    x: ArrayLike,
    y: ArrayLike,
    *,
    x_err: ArrayLike | float | None = None,
    y_err: ArrayLike | float | None = None,
    ratio: float | None = None,
    errors: str = "stated",
    replicate_errors: str = "pooled",
    levels: ArrayLike | None = None,
    coverage: float = 0.95,
    names: tuple[str, str] | None = None,
    random_state: int | np.random.RandomState | None = None,
    **params: Any,
) -> MethodComparison:
    """Compare two methods that measured the same samples, both with errors.

    The line is that of the true values, y's in x's: a `BayesianErrorsInVariablesRegressor` with errors in x.
    Errors come in one of three ways: stated, from replicates, or known up to one factor, as in Deming's regression.

    Parameters
    ----------
    x : array-like of shape (n,) or (n, m)
        What the method that is compared to read of n samples, up to m replicates of each; NaN: there is none.
    y : array-like of shape (n,) or (n, m)
        What the other method read of them.
    x_err : float or array-like of shape (n,), optional
        Standard errors of x.
    y_err : float or array-like of shape (n,), optional
        Standard errors of y; None: they are found, the same for all samples, where x's are known.
    ratio : float, optional
        Variance of x's errors over that of y's, the same for all samples, where neither is known (Linnet's lambda;
        R's mcr calls it error.ratio). 1: both methods are equally precise.
    errors : {"stated", "relative"}, default="stated"
        "relative": x_err and y_err are known up to one factor, the same for both, that is found. For constant
        coefficients of variation (weighted Deming regression), give these times the values.
    replicate_errors : {"pooled", "proportional", "own"}, default="pooled"
        What replicates share: one standard deviation of all of a method's readings, one coefficient of variation, or
        a standard deviation of each sample's, for which it takes many replicates.
    levels : array-like of shape (l,), optional
        Values of x at which decisions are taken, for `MethodComparison.bias`; None: the 10, 50 and 90% quantiles.
    coverage : float, default=0.95
        Of the intervals.
    names : tuple of str, optional
        The methods', for tables and displays; None: those of Series, else x and y.
    random_state : int, RandomState instance or None, default=None
    **params
        Further parameters of the regressor, such as ``noise="known"``: by default y's errors are found larger or
        smaller than stated, and samples may differ by a scatter of their own. Not where errors are relative, since
        these can't be separated.

    Returns
    -------
    MethodComparison
        With ``to_frame() bias() limits_of_agreement() line()``, and ``estimator_``.

    Raises
    ------
    ValueError, TypeError
        For bad input, naming the argument; where nothing is known of x's errors.

    Warns
    -----
    UserWarning
        As `BayesianErrorsInVariablesRegressor.fit`; where replicates scatter otherwise than ``replicate_errors``
        says.
    ConvergenceWarning
        Where errors are relative and the samples say too little.

    Notes
    -----
    Errors of x that are stated are taken as they are. Those of replicates are known up to a factor, integrated over,
    (80), but not for "own" errors or under other likelihoods. Under ``ratio`` they follow (79), and no sample may
    differ by more than both methods' errors.

    References
    ----------
    Linnet 1993, Clinical Chemistry 39:424-432; Bland & Altman 1986, The Lancet 327:307-310.

    Examples
    --------
    >>> from bayes_sklearn import compare_methods
    >>> serum = [4.1, 5.0, 6.2, 7.1, 8.3, 9.0, 10.2, 11.1]
    >>> plasma = [4.4, 5.0, 6.5, 7.2, 8.8, 9.4, 10.3, 11.8]
    >>> comparison = compare_methods(serum, plasma, x_err=0.2, y_err=0.2, random_state=0)
    >>> comparison.bias([5.0, 10.0])["bias"].round(1).tolist()
    [0.2, 0.4]
    """
    _check_choices(x_err, y_err, ratio, errors, replicate_errors, params)
    check_coverage(coverage)
    if ratio is not None:
        x_err, y_err, errors = float(np.sqrt(ratio)), 1.0, "relative"
    of_x = readings_of(x, x_err, "x", replicate_errors)
    of_y = readings_of(y, y_err, "y", replicate_errors)
    _check_same_samples(x, y, len(of_x.value), len(of_y.value))
    if names is not None:
        if isinstance(names, str) or len(names) != 2:
            raise ValueError(f"names must be two, x's and y's, got {shown(names)}.")
        of_x, of_y = (replace(part, name=str(name)) for part, name in zip((of_x, of_y), names, strict=True))
    if of_x.error is None:
        raise ValueError(
            "Nothing says how large x's errors are: give x_err, replicates of shape (n, m), or the ratio of both"
            " methods' error variances. x_err=0 says that x is exact."
        )
    at = np.quantile(of_x.value, [0.1, 0.5, 0.9]) if levels is None else _checked_levels(levels)
    if errors == "relative":
        if x_err is None or y_err is None:
            raise ValueError("errors='relative' is of x's and y's errors: give x_err and y_err, or ratio.")
        params = {"noise": "common"}
    elif of_x.degrees_of_freedom and not (
        replicate_errors == "own" or params.get("noise") == "common" or _OTHER_MODELS & set(params)
    ):
        params = {"x_error_dof": of_x.degrees_of_freedom, **params}
    model = BayesianErrorsInVariablesRegressor(random_state=random_state, **params)
    model.fit(_table(of_x), of_y.value, X_err=of_x.error[:, None], y_err=of_y.error)
    if not model._fitted.likelihood.link.is_identity:
        raise ValueError(
            f"likelihood={params['likelihood']!r} has no line in the methods' unit: use 'student_t', or none."
        )
    return MethodComparison(model, of_x, of_y, at, coverage)


class MethodComparison:
    """What `compare_methods` found.

    Attributes
    ----------
    estimator_ : BayesianErrorsInVariablesRegressor
        The fitted model, with ``noise="common"`` where errors are relative and ``x_error_dof`` where they come
        from replicates. Its feature has x's name.
    x, y : ndarray of shape (n,)
        What was compared: of replicates the means.
    x_err, y_err : ndarray of shape (n,) or None
        Their standard errors: stated, from replicates, or found where they are relative; None: not known.
    levels : ndarray of shape (l,)
        Values of x at which decisions are taken.
    coverage : float
        Of the intervals.
    names : tuple of str
        The methods'.

    Examples
    --------
    >>> from bayes_sklearn import compare_methods
    >>> serum, plasma = [4.1, 5.0, 6.2, 7.1, 8.3, 9.0], [4.4, 5.0, 6.5, 7.2, 8.8, 9.4]
    >>> comparison = compare_methods(serum, plasma, x_err=0.2, y_err=0.2, names=("serum", "plasma"))
    >>> len(comparison), comparison.names
    (6, ('serum', 'plasma'))
    """

    def __init__(
        self,
        estimator: BayesianErrorsInVariablesRegressor,
        of_x: Readings,
        of_y: Readings,
        levels: Array,
        coverage: float,
    ):
        self._posterior = estimator._fitted.posterior
        # Root mean square errors of x and y where the factor is one, if there is a factor.
        self._relative: tuple[float, float] | None = None
        if estimator.noise == "common" and of_x.error is not None and of_y.error is not None:
            self._relative = float(np.sqrt(np.mean(of_x.error**2))), float(np.sqrt(np.mean(of_y.error**2)))
            likely = float(self._posterior.noise_quantiles(np.array([0.5]))[0])
            of_x, of_y = replace(of_x, error=likely * of_x.error), replace(of_y, error=likely * of_y.error)
        self.estimator_ = estimator
        self.x, self.y = of_x.value, of_y.value
        self.x_err, self.y_err = of_x.error, of_y.error
        self.levels = levels
        self.coverage = coverage
        self.names = of_x.name, of_y.name
        self._readings = of_x, of_y

    def __len__(self) -> int:
        return len(self.x)

    def to_frame(self) -> pd.DataFrame:
        """Return the line as a table.

        Returns
        -------
        pandas.DataFrame
            Rows for the intercept (at x = 0) and the slope; columns median, its limits, ``neutral``, what
            both are where the methods agree, and ``above``, the probability of being larger. Where errors are
            relative, also rows for x's and y's (root mean square) standard errors.

        Examples
        --------
        >>> from bayes_sklearn import compare_methods
        >>> serum, plasma = [4.1, 5.0, 6.2, 7.1, 8.3, 9.0], [4.4, 5.0, 6.5, 7.2, 8.8, 9.4]
        >>> comparison = compare_methods(serum, plasma, x_err=0.2, y_err=0.2, random_state=0)
        >>> comparison.to_frame()["median"].round(1).to_dict()
        {'intercept': -0.1, 'slope': 1.1}
        """
        import pandas as pd

        center = self._posterior.center
        design = np.array([[1.0, -center[0]], [0.0, 1.0]])
        neutral = np.array([0.0, 1.0])
        mixture = self._mixture(design)
        table = pd.DataFrame(
            {
                "median": mixture.quantile(np.full(2, 0.5)),
                **self._limits(mixture),
                "neutral": neutral,
                "above": 1.0 - mixture.cdf(neutral),
            },
            index=["intercept", "slope"],
        )
        if self._relative is None:
            return table
        factor = self._posterior.noise_quantiles(np.append(0.5, self._tails))
        for name, error in zip(("x_err", "y_err"), self._relative, strict=True):
            middle, low, high = error * factor
            table.loc[name] = [middle, low, high, np.nan, np.nan]
        return table

    def bias(self, levels: ArrayLike | None = None) -> pd.DataFrame:
        """Return how far y lies above x where x truly has some values: the line less x.

        Parameters
        ----------
        levels : array-like of shape (l,), optional
            True values of x; None: those of the comparison.

        Returns
        -------
        pandas.DataFrame
            A row for each level; columns ``bias`` (its median) and its limits, in the unit of y, the same in per cent
            of the level (NaN at 0), and ``above``, the probability that it is positive.

        Raises
        ------
        ValueError, TypeError
            Where levels are no finite numbers.

        Examples
        --------
        >>> from bayes_sklearn import compare_methods
        >>> serum, plasma = [4.1, 5.0, 6.2, 7.1, 8.3, 9.0], [4.4, 5.0, 6.5, 7.2, 8.8, 9.4]
        >>> comparison = compare_methods(serum, plasma, x_err=0.2, y_err=0.2, random_state=0)
        >>> comparison.bias([5.0, 8.0])["bias"].round(1).tolist()
        [0.2, 0.4]
        """
        import pandas as pd

        at = self.levels if levels is None else _checked_levels(levels)
        mixture = self.line(at)
        middle = mixture.quantile(np.full(len(at), 0.5))
        found = {"bias": middle, **self._limits(mixture)}
        found = {name: values - at for name, values in found.items()}
        percent = np.divide(100.0, np.abs(at), out=np.full(len(at), np.nan), where=at != 0.0)
        relative = {
            name.replace("bias", "percent", 1) if name == "bias" else f"percent_{name}": values * percent
            for name, values in found.items()
        }
        return pd.DataFrame(
            {**found, **relative, "above": 1.0 - mixture.cdf(at)}, index=pd.Index(at, name=self.names[0])
        )

    def limits_of_agreement(self) -> pd.DataFrame:
        """Return how far single readings of both methods lie apart, y less x, whatever the level (Bland & Altman).

        Returns
        -------
        pandas.DataFrame
            Rows for the mean difference and the limits between which differences lie (with the probability
            ``coverage``, were they normal); columns estimate and its limits, in the unit of y. Without replicates
            these are exact (Carkeet 2015, Optometry and Vision Science 92:e71-e80). With replicates, limits are of
            single readings, too: what scatter their means have lost is added (Bland & Altman 1986). In
            ``attrs["std"]`` the standard deviation of differences.

        Examples
        --------
        >>> from bayes_sklearn import compare_methods
        >>> serum, plasma = [4.1, 5.0, 6.2, 7.1, 8.3, 9.0], [4.4, 5.0, 6.5, 7.2, 8.8, 9.4]
        >>> comparison = compare_methods(serum, plasma, x_err=0.2, y_err=0.2, random_state=0)
        >>> comparison.limits_of_agreement().round(1)
                         estimate  lower_95%  upper_95%
        mean_difference       0.3        0.1        0.5
        lower_limit          -0.1       -0.7        0.1
        upper_limit           0.6        0.5        1.2
        """
        import pandas as pd

        difference, n = self.y - self.x, len(self)
        mean, variance = float(difference.mean()), float(difference.var(ddof=1))
        parts = [(variance, n - 1)]
        parts += [(part.lost, part.degrees_of_freedom) for part in self._readings if part.degrees_of_freedom]
        # Each variance is what it was found to be times degrees of freedom over their chi-square.
        uniform = qmc.Sobol(len(parts), seed=0).random(2**11)
        drawn = np.column_stack(
            [
                found * freedom / stats.chi2.ppf(u, freedom)
                for u, (found, freedom) in zip(uniform.T, parts, strict=True)
            ]
        )
        z = -float(stats.norm.ppf(self._tails[0]))
        away = np.sqrt(drawn.sum(axis=1))
        of_mean = np.sqrt(drawn[:, 0] / n)
        weights = np.full(len(drawn), 1.0 / len(drawn))
        mixture = NormalMixture(weights, mean + np.outer([0.0, -z, z], away), np.tile(of_mean, (3, 1)))
        std = float(np.sqrt(sum(found for found, _ in parts)))
        table = pd.DataFrame(
            {"estimate": mean + std * np.array([0.0, -z, z]), **self._limits(mixture)},
            index=["mean_difference", "lower_limit", "upper_limit"],
        )
        table.attrs["std"] = std
        return table

    def line(self, levels: ArrayLike) -> NormalMixture:
        """Return the distribution of y's true value at true values of x, with ``cdf`` and ``quantile``.

        Parameters
        ----------
        levels : array-like of shape (l,)

        Returns
        -------
        NormalMixture
            Of l distributions, in the unit of y; its functions take an array of shape (l,).

        Raises
        ------
        ValueError, TypeError
            As `bias`.

        Examples
        --------
        >>> import numpy as np
        >>> from bayes_sklearn import compare_methods
        >>> serum, plasma = [4.1, 5.0, 6.2, 7.1, 8.3, 9.0], [4.4, 5.0, 6.5, 7.2, 8.8, 9.4]
        >>> comparison = compare_methods(serum, plasma, x_err=0.2, y_err=0.2, random_state=0)
        >>> comparison.line([6.0, 8.0]).quantile(np.array([0.5, 0.5])).round(1)
        array([6.2, 8.4])
        """
        at = _checked_levels(levels)
        return self._mixture(np.column_stack([np.ones(len(at)), at - self._posterior.center[0]]))

    @property
    def _tails(self) -> Array:
        return 0.5 + np.array([-0.5, 0.5]) * self.coverage

    def _limits(self, mixture: NormalMixture) -> dict[str, Array]:
        label, n = f"{100.0 * self.coverage:g}%", len(mixture.means)
        low, high = (mixture.quantile(np.full(n, tail)) for tail in self._tails)
        return {f"lower_{label}": low, f"upper_{label}": high}

    def _mixture(self, design: Array) -> NormalMixture:
        means, variances = self._posterior.linear(design)
        return NormalMixture(self._posterior.weights, means, np.sqrt(variances))


def _table(of_x: Readings) -> pd.DataFrame:
    """Return the feature under its name, by which warnings call it."""
    import pandas as pd

    return pd.DataFrame({of_x.name: of_x.value})


def _check_same_samples(x: Any, y: Any, n_x: int, n_y: int) -> None:
    if n_x != n_y:
        raise ValueError(f"x has {n_x} samples and y {n_y}: give both methods' readings of the same ones.")
    labelled = all(hasattr(values, "index") and hasattr(values, "iloc") for values in (x, y))
    if labelled and not x.index.equals(y.index):
        raise ValueError("x and y have other indexes, so that samples would be mixed up: align them first.")


def _check_choices(
    x_err: Any, y_err: Any, ratio: Any, errors: Any, replicate_errors: Any, params: dict[str, Any]
) -> None:
    for name, value, choices in (
        ("errors", errors, ("stated", "relative")),
        ("replicate_errors", replicate_errors, REPLICATE_ERRORS),
    ):
        if not isinstance(value, str) or value not in choices:
            raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {shown(value)}.")
    if ratio is not None:
        number = isinstance(ratio, int | float | np.integer | np.floating) and not isinstance(ratio, bool)
        if not number or not 0.0 < ratio < np.inf:
            raise ValueError(
                f"ratio must be a positive number, x's error variance over y's, got {shown(ratio)}."
            )
        if x_err is not None or y_err is not None:
            raise ValueError(
                "ratio says what is known of errors that are not: leave out x_err and y_err, or ratio."
            )
    if params and (ratio is not None or errors == "relative"):
        raise ValueError(
            f"{next(iter(params))} can't be chosen where errors are known up to a factor alone: the model is that of"
            " Deming's regression. State x_err and y_err."
        )


def _checked_levels(levels: ArrayLike) -> Array:
    try:
        found = np.atleast_1d(as_floats(levels))
    except TypeError:
        raise TypeError(f"levels must be real numbers, got {shown(levels)}.") from None
    if found.ndim != 1 or not found.size or not np.isfinite(found).all():
        raise ValueError(f"levels must be finite numbers, of shape (l,), got {shown(levels)}.")
    return found
