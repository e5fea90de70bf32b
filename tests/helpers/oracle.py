"""The exact engine's posterior by brute force: dense covariances and numerical integration.

Nothing here is shared with the package, neither code nor route. Given the noise scale s, the
coefficients are integrated out of the model by writing down the n x n covariance of the target,

    y | s ~ Normal(A mu_0, A D A' + diag(v_i(s))),

and the integral over s is a composite Gauss-Legendre rule over everything within many nats of the
largest value. It costs O(n^3) a node and loses digits where the noise is far below the signal
(about log10 of the condition number of the covariance), so it is for small, well-scaled tables.

A flat prior is the one with an infinite standard deviation: its columns are integrated out by
generalised least squares, which is the exact limit.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, Protocol, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import integrate, optimize, special, stats

__all__ = [
    "FlatScale",
    "HalfStudentTScale",
    "Integration",
    "NoiseDensity",
    "exponential",
    "half_cauchy",
    "half_normal",
    "half_student_t",
    "integrate_posterior",
    "inverse_gamma",
    "standardisation",
]

Array = NDArray[np.float64]
NoiseKind = Literal["scaled", "additive", "known"]

# Values this many nats below the largest are left out of an integral (exp(-55) = 1e-24).
_DEPTH = 55.0
# log s is searched between these bounds, in standardised units.
_LOG_SCALE_BOUNDS = (-60.0, 45.0)


# --- densities of the noise scale, in PyMC's parametrisation -------------------------------------


class NoiseDensity(Protocol):
    """A density on s > 0, in the style of SciPy's frozen distributions."""

    def logpdf(self, x: Array) -> Array:
        """Log density at each value of s."""


@dataclass(frozen=True)
class HalfStudentTScale:
    """Student's t, folded at zero."""

    nu: float
    sigma: float

    def logpdf(self, x: Array) -> Array:
        """Log density at each value of s."""
        return np.asarray(np.log(2.0) + stats.t(df=self.nu, scale=self.sigma).logpdf(x))


@dataclass(frozen=True)
class FlatScale:
    """The improper density 1 on s > 0."""

    def logpdf(self, x: Array) -> Array:
        """Zero, for each value of s."""
        return np.zeros_like(x)


def half_normal(sigma: float) -> NoiseDensity:
    """PyMC's ``HalfNormal(sigma)``."""
    return cast(NoiseDensity, stats.halfnorm(scale=sigma))


def half_student_t(nu: float, sigma: float) -> NoiseDensity:
    """PyMC's ``HalfStudentT(nu, sigma)``."""
    return HalfStudentTScale(nu, sigma)


def half_cauchy(beta: float) -> NoiseDensity:
    """PyMC's ``HalfCauchy(beta)``."""
    return cast(NoiseDensity, stats.halfcauchy(scale=beta))


def exponential(lam: float) -> NoiseDensity:
    """PyMC's ``Exponential(lam)``: mean 1 / lam."""
    return cast(NoiseDensity, stats.expon(scale=1.0 / lam))


def inverse_gamma(alpha: float, beta: float) -> NoiseDensity:
    """PyMC's ``InverseGamma(alpha, beta)``."""
    return cast(NoiseDensity, stats.invgamma(alpha, scale=beta))


# --- the answer ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Integration:
    """The posterior on the data's own scale, as quadrature nodes over s.

    Attributes
    ----------
    weights : ndarray of shape (n_nodes,)
        Quadrature weight times posterior density of each node; they sum to one.
    scales : ndarray of shape (n_nodes,)
        The noise scale s: in the target's unit where there are no known errors or they are added
        to, without unit where they are multiplied. NaN where the noise is known.
    means : ndarray of shape (n_nodes, p + 1)
        Mean of (intercept, coef) given s.
    covariances : ndarray of shape (n_nodes, p + 1, p + 1)
        Covariance of (intercept, coef) given s.
    log_marginal_likelihood : float
        Log density of y, in the target's unit; NaN under flat priors, one of the intercept aside: its
        density is one in the units in which priors are stated.
    noise : {"scaled", "additive", "known"}
    typical_error : float
        Error of a new measurement where none is given.
    """

    weights: Array
    scales: Array
    means: Array
    covariances: Array
    log_marginal_likelihood: float
    noise: NoiseKind
    typical_error: float

    @property
    def mean(self) -> Array:
        """Posterior mean of (intercept, coef), shape (p + 1,)."""
        mean: Array = self.weights @ self.means
        return mean

    @property
    def covariance(self) -> Array:
        """Posterior covariance of (intercept, coef), shape (p + 1, p + 1)."""
        centred = self.means - self.mean
        between = np.einsum("g,gi,gj->ij", self.weights, centred, centred)
        return np.asarray(np.einsum("g,gij->ij", self.weights, self.covariances) + between)

    @property
    def noise_mean(self) -> float:
        """Posterior mean of s."""
        return float(self.weights @ self.scales)

    @property
    def noise_std(self) -> float:
        """Posterior standard deviation of s."""
        return float(np.sqrt(self.weights @ (self.scales - self.noise_mean) ** 2))

    def _components(self, X: ArrayLike, y_err: ArrayLike | None, include_noise: bool) -> tuple[Array, Array]:
        """Mean and standard deviation of the Gaussians, each (n_nodes, n_rows)."""
        rows = np.asarray(X, dtype=float)
        design = np.column_stack([np.ones(len(rows)), rows])
        mean = self.means @ design.T
        variance = np.einsum("ni,gij,nj->gn", design, self.covariances, design)
        if include_noise:
            error = np.broadcast_to(
                self.typical_error if y_err is None else np.asarray(y_err, float), len(rows)
            )
            variance = variance + _noise_variance(self.noise, self.scales, error)
        return mean, np.sqrt(variance)

    def predict(
        self, X: ArrayLike, y_err: ArrayLike | None = None, include_noise: bool = True
    ) -> tuple[Array, Array]:
        """Mean and standard deviation of a new measurement at each row of X, or of the line."""
        mean, std = self._components(X, y_err, include_noise)
        overall = self.weights @ mean
        return overall, np.sqrt(self.weights @ (std**2 + (mean - overall) ** 2))

    def line_covariance(self, X: ArrayLike) -> Array:
        """Covariance of the regression line between the rows of X, shape (n_rows, n_rows)."""
        rows = np.asarray(X, dtype=float)
        design = np.column_stack([np.ones(len(rows)), rows])
        covariance: Array = design @ self.covariance @ design.T
        return covariance

    def cdf(self, X: ArrayLike, y: ArrayLike, y_err: ArrayLike | None = None) -> Array:
        """Distribution function of a new measurement at each row of X, evaluated at y."""
        mean, std = self._components(X, y_err, include_noise=True)
        probability: Array = self.weights @ special.ndtr((np.asarray(y, float) - mean) / std)
        return probability

    def logpdf(self, X: ArrayLike, y: ArrayLike, y_err: ArrayLike | None = None) -> Array:
        """Log density of a new measurement at each row of X, evaluated at y."""
        mean, std = self._components(X, y_err, include_noise=True)
        density = self.weights @ stats.norm.pdf(np.asarray(y, float), mean, std)
        return np.asarray(np.log(density))

    def ppf(self, X: ArrayLike, level: float, y_err: ArrayLike | None = None) -> Array:
        """Quantile of a new measurement at each row of X, by finding the root of the cdf."""
        return np.array([self._quantile(m, s, level) for m, s in self._rows(X, y_err)])

    def crps(self, X: ArrayLike, y: ArrayLike, y_err: ArrayLike | None = None) -> Array:
        """Continuous ranked probability score: the integral of (F(t) - 1{t >= y})^2."""
        scores = []
        for (mean, std), observed in zip(self._rows(X, y_err), np.asarray(y, float), strict=True):
            below = self._integral_of_squares(mean, std, observed)
            above = self._integral_of_squares(-mean, std, -observed)
            scores.append(below + above)
        return np.array(scores)

    def _rows(self, X: ArrayLike, y_err: ArrayLike | None) -> list[tuple[Array, Array]]:
        mean, std = self._components(X, y_err, include_noise=True)
        return list(zip(mean.T, std.T, strict=True))

    def _row_cdf(self, mean: Array, std: Array, value: float) -> float:
        return float(self.weights @ special.ndtr((value - mean) / std))

    def _quantile(self, mean: Array, std: Array, level: float) -> float:
        centre = float(self.weights @ mean)
        width = float(np.sqrt(self.weights @ (std**2 + (mean - centre) ** 2)))
        lower, upper = centre - width, centre + width
        while self._row_cdf(mean, std, lower) > level:
            lower -= 2.0 * (centre - lower)
        while self._row_cdf(mean, std, upper) < level:
            upper += 2.0 * (upper - centre)
        return float(
            optimize.brentq(lambda t: self._row_cdf(mean, std, t) - level, lower, upper, xtol=1e-13 * width)
        )

    def _integral_of_squares(self, mean: Array, std: Array, upper: float) -> float:
        """Integral of F(t)^2 up to a limit; by symmetry also that of (1 - F)^2 above one."""
        points = sorted({min(self._quantile(mean, std, q), upper) for q in (1e-8, 1e-4, 0.02, 0.5, 0.98)})
        edges = [-np.inf, *points] + ([upper] if points[-1] < upper else [])
        return sum(
            integrate.quad(
                lambda t: self._row_cdf(mean, std, t) ** 2,
                a,
                b,
                epsabs=1e-13,
                epsrel=1e-11,
                limit=200,
            )[0]
            for a, b in pairwise(edges)
        )


# --- the model -----------------------------------------------------------------------------------


def standardisation(
    X: ArrayLike, y: ArrayLike, frequency: ArrayLike, fit_intercept: bool
) -> tuple[Array, Array, float, float]:
    """Origin and scale of the features and of the target: c, S, d, S_y.

    With an intercept the data is centred, and the scale is the population standard deviation, of a constant feature
    its size; without, it is the root mean square. Where that is zero, and of a constant target, it is one.
    """
    rows, target, f = (np.asarray(a, dtype=float) for a in (X, y, frequency))
    table = np.column_stack([rows, target])
    mean = f @ table / f.sum()
    origin = mean if fit_intercept else np.zeros_like(mean)
    scale = np.sqrt(f @ (table - origin) ** 2 / f.sum())
    constant = scale <= 1e-12 * np.abs(table).max(axis=0)
    scale[constant] = np.append(np.abs(mean[:-1]), 1.0)[constant]
    scale[scale == 0.0] = 1.0
    return origin[:-1], scale[:-1], float(origin[-1]), float(scale[-1])


@dataclass(frozen=True)
class _Model:
    """y | B, s with everything in the units in which the priors are stated."""

    design: Array
    target: Array
    error: Array
    frequency: Array
    noise: NoiseKind
    prior_mean: Array
    prior_std: Array
    density: NoiseDensity

    def given_scale(self, scale: Array, block: int = 256) -> tuple[Array, Array, Array]:
        """Log p(y | s), E[B | y, s] and Cov[B | y, s] at each s, in blocks to bound memory."""
        parts = [self._given_scale(scale[i : i + block]) for i in range(0, len(scale), block)]
        log_likelihood, mean, covariance = (np.concatenate(p) for p in zip(*parts, strict=True))
        return log_likelihood, mean, covariance

    def _given_scale(self, scale: Array) -> tuple[Array, Array, Array]:
        is_flat = ~np.isfinite(self.prior_std)
        F, A = self.design[:, is_flat], self.design[:, ~is_flat]
        mu, D = self.prior_mean[~is_flat], np.diag(self.prior_std[~is_flat] ** 2)
        n, k, f = len(self.target), F.shape[1], self.frequency

        # exp(f log Normal(y; m, v)) = Normal(y; m, v / f) (2 pi v)^((1 - f) / 2) / sqrt(f)
        v = _noise_variance(self.noise, scale, self.error)
        log_weighting = (0.5 * (1.0 - f) * np.log(2.0 * np.pi * v) - 0.5 * np.log(f)).sum(axis=1)
        noise_covariance = np.eye(n) * (v / f)[:, None, :]

        # contrasts K'y, which the flat columns do not touch: Normal(K'A mu, K'(A D A' + V)K)
        K = np.linalg.qr(F, mode="complete")[0][:, k:]
        KA = K.T @ A
        L = np.linalg.cholesky(KA @ D @ KA.T + K.T @ noise_covariance @ K)
        whitened = _solve(L, np.column_stack([K.T @ (self.target - A @ mu), KA]))
        r, gain = whitened[:, :, :1], D @ _transposed(whitened[:, :, 1:])
        log_likelihood = (
            log_weighting
            - 0.5 * (n - k) * np.log(2.0 * np.pi)
            - np.log(np.diagonal(L, axis1=1, axis2=2)).sum(axis=1)
            - 0.5 * (r**2).sum(axis=(1, 2))
            - 0.5 * np.linalg.slogdet(F.T @ F)[1]
        )
        normal_mean = mu[:, None] + gain @ r
        normal_covariance = D - gain @ _transposed(gain)

        # flat columns given the others: weighted least squares, H = (F'V^-1 F)^-1 F'V^-1
        weighted = F.T * (f / v)[:, None, :]
        Q = np.linalg.inv(weighted @ F)
        H = Q @ weighted
        flat_mean = H @ (self.target[:, None] - A @ normal_mean)
        cross = -H @ A @ normal_covariance
        flat_covariance = Q + H @ A @ normal_covariance @ _transposed(H @ A)

        mean = np.concatenate([flat_mean, normal_mean], axis=1)[:, :, 0]
        covariance = np.concatenate(
            [
                np.concatenate([flat_covariance, cross], axis=2),
                np.concatenate([_transposed(cross), normal_covariance], axis=2),
            ],
            axis=1,
        )
        original = np.argsort(np.argsort(~is_flat, kind="stable"))
        return log_likelihood, mean[:, original], covariance[:, original][:, :, original]

    def log_integrand(self, log_scale: Array) -> Array:
        """Log of p(y | s) p(s) s, the density of log s up to a constant.

        Minus infinity where the covariance of y is not positive definite in floating point: the
        noise is then 1e-8 of the signal or less.
        """
        try:
            log_likelihood = self.given_scale(np.exp(log_scale))[0]
        except np.linalg.LinAlgError:
            if len(log_scale) == 1:
                return np.array([-np.inf])
            halves = np.array_split(log_scale, 2)
            return np.concatenate([self.log_integrand(half) for half in halves])
        return log_likelihood + self.density.logpdf(np.exp(log_scale)) + log_scale

    def quadrature(self, order: int) -> tuple[Array, Array]:
        """Nodes in s and the logs of the rule's weights, over all that matters up to E[s^2].

        Raises
        ------
        ValueError
            If the integrand does not die away on both sides: the posterior is improper, or s has
            no variance.
        """
        coarse = np.arange(*_LOG_SCALE_BOUNDS, 0.2)
        log_density = self.log_integrand(coarse)
        used = np.zeros(len(coarse), dtype=bool)
        for curve in (log_density, log_density + 2.0 * coarse):
            used |= curve > curve.max() - _DEPTH
        if used[0] or used[-1]:
            raise ValueError("the posterior of s, or its second moment, does not converge")
        lower, upper = coarse[used][0] - 0.2, coarse[used][-1] + 0.2

        # log s has a standard deviation of about 1 / sqrt(2 N): three of them a panel
        width = min(0.5, 3.0 / np.sqrt(2.0 * self.frequency.sum()))
        edges = np.linspace(lower, upper, 2 + int((upper - lower) / width))
        nodes, rule = np.polynomial.legendre.leggauss(order)
        half_width = np.diff(edges)[:, None] / 2.0
        log_scale = (edges[:-1, None] + half_width * (1.0 + nodes)).ravel()
        return np.exp(log_scale), np.log((half_width * rule).ravel()) + log_scale


def integrate_posterior(
    X: ArrayLike,
    y: ArrayLike,
    *,
    frequency: ArrayLike | None = None,
    y_err: ArrayLike | None = None,
    noise: NoiseKind = "scaled",
    coef_mu: ArrayLike = 0.0,
    coef_sigma: ArrayLike = 1.0,
    intercept_mu: float = 0.0,
    intercept_sigma: float = 1.0,
    noise_density: NoiseDensity | None = None,
    standardize: bool = True,
    fit_intercept: bool = True,
    order: int = 16,
) -> Integration:
    """Integrate the posterior of a Gaussian linear model with errors on the target.

    Parameters
    ----------
    X : array-like of shape (n, p)
        Features.
    y : array-like of shape (n,)
        Target.
    frequency : array-like of shape (n,), optional
        How often each row counts. Whole numbers are carried out by repeating the rows, others by
        weighting the log-likelihood.
    y_err : array-like of shape (n,), optional
        Known standard errors of y; without them one, in the units of the priors (zero where they
        are added to s).
    noise : {"scaled", "additive", "known"}
        Standard deviation s e, sqrt(s^2 + e^2) or e.
    coef_mu, coef_sigma : array-like of shape () or (p,)
        Normal prior of the coefficients; flat where sigma is infinite.
    intercept_mu, intercept_sigma : float
        Normal prior of the intercept; flat if sigma is infinite.
    noise_density : NoiseDensity, optional
        Prior density of s; HalfNormal(1) by default.
    standardize : bool
        Whether the priors are on standardised features and target.
    fit_intercept : bool
        Whether there is an intercept, and the data is centred before it is scaled.
    order : int
        Gauss-Legendre nodes a panel.

    Returns
    -------
    Integration
    """
    X, y = np.asarray(X, dtype=float), np.asarray(y, dtype=float)
    f = np.ones(len(y)) if frequency is None else np.asarray(frequency, dtype=float)
    errors = None if y_err is None else np.broadcast_to(np.asarray(y_err, dtype=float), len(y))
    if np.all(f == np.round(f)):
        rows = np.repeat(np.arange(len(y)), f.astype(int))
        f = np.ones(len(rows))
    else:
        rows = np.flatnonzero(f)
        f = f[rows]
    X, y = X[rows], y[rows]

    origin, scale, target_origin, target_scale = (
        standardisation(X, y, f, fit_intercept)
        if standardize
        else (np.zeros(X.shape[1]), np.ones(X.shape[1]), 0.0, 1.0)
    )
    if errors is not None:
        typical_error = float(np.sqrt(f @ errors[rows] ** 2 / f.sum()))
        error = errors[rows] / target_scale
    else:
        typical_error = 1.0 if noise == "scaled" else 0.0
        error = np.full(len(y), typical_error)

    p = X.shape[1]
    design = (X - origin) / scale
    prior_mean, prior_std = (np.broadcast_to(np.asarray(a, float), p) for a in (coef_mu, coef_sigma))
    if fit_intercept:
        design = np.column_stack([np.ones(len(y)), design])
        prior_mean, prior_std = np.r_[intercept_mu, prior_mean], np.r_[intercept_sigma, prior_std]
    density = half_normal(1.0) if noise_density is None else noise_density
    target = (y - target_origin) / target_scale
    model = _Model(design, target, error, f, noise, prior_mean, prior_std, density)

    if noise == "known":
        s, log_weight = np.array([np.nan]), np.zeros(1)
    else:
        s, log_weight = model.quadrature(order)
        log_weight = log_weight + density.logpdf(s)
    log_likelihood, mean, covariance = model.given_scale(s)
    log_evidence = special.logsumexp(log_likelihood + log_weight)
    proper = np.all(np.isfinite(prior_std[int(fit_intercept) :])) and not isinstance(density, FlatScale)

    # back to the data's own scale: B = (d, 0) + T b, with T = S_y [[1, -c/S], [0, 1/S]]
    T = target_scale * np.vstack([-origin / scale, np.diag(1.0 / scale)])
    if fit_intercept:
        T = np.column_stack([np.r_[target_scale, np.zeros(p)], T])
    unit_of_s = 1.0 if noise == "scaled" and errors is not None else target_scale
    return Integration(
        weights=np.exp(log_likelihood + log_weight - log_evidence),
        scales=s * unit_of_s,
        means=mean @ T.T + np.r_[target_origin, np.zeros(p)],
        covariances=T @ covariance @ T.T,
        log_marginal_likelihood=(
            float(log_evidence - f.sum() * np.log(target_scale)) if proper else float("nan")
        ),
        noise=noise,
        typical_error=typical_error,
    )


def _noise_variance(noise: NoiseKind, scale: Array, error: Array) -> Array:
    """Variance of each row (columns) at each s (rows)."""
    s, e = scale[:, None], error[None, :]
    if noise == "scaled":
        return (s * e) ** 2
    if noise == "additive":
        return s**2 + e**2
    return np.broadcast_to(e**2, (len(scale), len(error)))


def _solve(L: Array, columns: Array) -> Array:
    stack = np.broadcast_to(columns, (len(L), *columns.shape))
    return np.asarray(np.linalg.solve(L, stack), dtype=np.float64)


def _transposed(stack: Array) -> Array:
    return np.swapaxes(stack, -1, -2)
