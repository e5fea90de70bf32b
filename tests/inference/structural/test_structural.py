"""The structural errors-in-variables model against dense algebra, integration over the true features, and grids."""

from dataclasses import replace
from itertools import product
from typing import Any, Literal

import mpmath
import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from scipy import integrate, stats
from scipy.linalg import block_diag, solve_triangular

from bayes_sklearn.inference.importance.structural_nodes import Following, _starts, solve_structural
from bayes_sklearn.inference.structural.model import MEAN_SCALE, StructuralProblem
from bayes_sklearn.inference.structural.normal_equations import SlopePrior
from bayes_sklearn.inference.structural.rows import forward
from bayes_sklearn.inference.structural.true_covariance import LKJ_SHAPE
from bayes_sklearn.likelihoods.noise import NOISES

Array = NDArray[np.float64]
Noise = Literal["scaled", "additive", "known"]
Errors = Literal["common", "grouped", "own"]

KINDS: tuple[Noise, ...] = ("scaled", "additive", "known")


def normal_prior(m: Array) -> Array:
    return stats.norm.logpdf(m).sum(axis=1)


def slope_prior(
    q: int, log_density: Any = normal_prior, beta_sd: Any = (), beta_mean: float = 0.0
) -> SlopePrior:
    beta_sd = np.array(beta_sd, dtype=np.float64)
    mean = np.full(len(beta_sd), beta_mean)
    return SlopePrior(log_density, np.zeros(q), np.ones(q), mean, np.diag(1.0 / beta_sd)[None])


def half_normal_prior(s: Array) -> Array:
    return stats.halfnorm.logpdf(s)


def make_problem(
    n: int = 8,
    q: int = 1,
    k: int = 0,
    noise: Noise = "scaled",
    errors: Errors = "own",
    seed: int = 0,
    **changes: Any,
) -> StructuralProblem:
    """Numbers without any structure: what is tested must hold for all."""
    rng = np.random.default_rng(seed)
    root = 0.3 * rng.normal(size=(n, q + 1, q + 3))
    if errors == "grouped":
        root = root[np.arange(n) % 2]
    joint = root @ root.transpose(0, 2, 1)
    common = errors == "common"
    problem = StructuralProblem(
        z=rng.normal(size=(n, k)),
        w=rng.normal(size=(n, q)),
        y=rng.normal(size=n),
        feature_covariance=joint[0, :q, :q] if common else joint[:, :q, :q],
        slopes=slope_prior(q, beta_sd=[1.5] * k, beta_mean=0.3),
        log_prior_noise=half_normal_prior,
        intercept=(0.2, 0.7),
        cross_covariance=joint[0, :q, q] if common else joint[:, :q, q],
        standard_error=float(np.sqrt(joint[0, q, q])) if common else np.sqrt(joint[:, q, q]),
        noise=NOISES[noise],
    )
    return replace(problem, **changes)


def measured(
    n: int,
    reliability: float,
    noise: Noise = "scaled",
    q: int = 1,
    seed: int = 0,
    spread: float = 0.3,
    correlation: float = 0.0,
) -> StructuralProblem:
    """Data as the model makes them, standardised; `spread` is that of the features' log errors."""
    rng = np.random.default_rng(seed)
    error = np.sqrt(1.0 / reliability - 1.0) * np.exp(spread * rng.normal(size=(n, q)))
    x = rng.normal(size=(n, q))
    x = np.sqrt(1.0 - correlation) * x + np.sqrt(correlation) * rng.normal(size=(n, 1))
    w = x + error * rng.normal(size=(n, q))
    y = x.sum(axis=1) + 0.5 * rng.normal(size=n)
    error, known = error / w.std(axis=0), 0.5 / y.std()
    w, y = (w - w.mean(axis=0)) / w.std(axis=0), (y - y.mean()) / y.std()
    return StructuralProblem(
        z=np.empty((n, 0)),
        w=w,
        y=y,
        feature_covariance=np.square(error)[:, :, None] * np.eye(q),
        slopes=slope_prior(q),
        log_prior_noise=half_normal_prior,
        intercept=(0.0, 1.0),
        standard_error={"scaled": None, "additive": 0.5 * known, "known": known}[noise],
        noise=NOISES[noise],
    )


def row_moments(problem: StructuralProblem, point: Array) -> tuple[list[Array], list[Array]]:
    """Design and covariance of every row's (w, y), straight from the model's definition."""
    n, q = problem.w.shape
    m, s, T = (value[0] for value in problem.psi(point[None])[:3])
    U = np.broadcast_to(problem.feature_covariance, (n, q, q))
    c = (
        np.zeros((n, q))
        if problem.cross_covariance is None
        else np.broadcast_to(problem.cross_covariance, (n, q))
    )
    default = 0.0 if problem.noise.only_scatters else 1.0
    e = np.broadcast_to(default if problem.standard_error is None else problem.standard_error, n)
    variance = {"scaled": s**2 * e**2, "additive": s**2 + e**2, "known": e**2}[problem.noise.name]
    if problem.noise.only_multiplies:
        c = s * c
    designs, covariances = [], []
    for i in range(n):
        block = np.vstack([np.eye(q + 1)[:q], np.append(m, 1.0)])
        design = np.kron(block, np.append(1.0, problem.z[i])[None])
        designs.append(
            np.delete(design, q * (problem.z.shape[1] + 1), 1) if problem.intercept is None else design
        )
        corner = T @ m + c[i]
        covariances.append(
            np.block([[T + U[i], corner[:, None]], [corner[None], np.array([[m @ T @ m + variance[i]]])]])
        )
    return designs, covariances


def theta_prior(problem: StructuralProblem) -> tuple[Array, Array]:
    n_latent = problem.n_noisy * (problem.z.shape[1] + 1)
    intercept = np.empty((0, 2)) if problem.intercept is None else np.array([problem.intercept])
    mean = np.concatenate([np.zeros(n_latent), intercept[:, 0], problem.slopes.beta_mean])
    beta_sd = 1.0 / np.diag(problem.slopes.whiten[0])
    return mean, np.concatenate([np.full(n_latent, MEAN_SCALE), intercept[:, 1], beta_sd])


def random_points(problem: StructuralProblem, size: int = 3) -> Array:
    return np.random.default_rng(1).normal(size=(size, problem.size))


@pytest.mark.parametrize("errors", ["common", "grouped", "own"])
@pytest.mark.parametrize("noise", KINDS)
@pytest.mark.parametrize(("q", "k"), [(1, 0), (1, 2), (2, 0), (2, 2), (3, 0), (3, 2)])
@pytest.mark.parametrize("with_intercept", [True, False])
def test_the_evidence_and_theta_are_those_of_one_dense_gaussian(
    q: int, k: int, noise: Noise, errors: Errors, with_intercept: bool
) -> None:
    problem = make_problem(q=q, k=k, noise=noise, errors=errors)
    if not with_intercept:
        problem = replace(problem, intercept=None)
    points = random_points(problem)
    found = problem.condition(points)
    observed = np.column_stack([problem.w, problem.y]).ravel()
    mean, sd = theta_prior(problem)
    for g, point in enumerate(points):
        designs, covariances = row_moments(problem, point)
        design, covariance = np.vstack(designs), block_diag(*covariances)
        total = covariance + (design * sd**2) @ design.T
        expected = stats.multivariate_normal(design @ mean, total).logpdf(observed)
        assert_allclose(found.log_evidence[g], expected, rtol=1e-8)
        precision = np.diag(sd**-2.0) + design.T @ np.linalg.solve(covariance, design)
        right = mean / sd**2 + design.T @ np.linalg.solve(covariance, observed)
        assert_allclose(found.theta[g], np.linalg.solve(precision, right), rtol=1e-7, atol=1e-9)
        assert_allclose(
            found.theta_root[g] @ found.theta_root[g].T, np.linalg.inv(precision), rtol=1e-7, atol=1e-9
        )


@pytest.mark.parametrize("noise", KINDS)
@pytest.mark.parametrize(("q", "k", "spread"), [(1, 0, 3.0), (1, 2, 0.5), (2, 1, 0.2)])
def test_few_kinds_of_errors_stand_for_many(q: int, k: int, spread: float, noise: Noise) -> None:
    rng, n = np.random.default_rng(2), 1500
    error = 0.3 * np.exp(spread * rng.uniform(-1.0, 1.0, (n, q)))
    error[::5, 0] = 0.0  # these are a kind of their own
    of_target = 0.4 * np.exp(0.3 * rng.uniform(-1.0, 1.0, n)) if spread == 0.5 else np.full(n, 0.4)
    changes = {
        "feature_covariance": np.square(error)[:, :, None] * np.eye(q),
        "cross_covariance": None,
        "standard_error": of_target,
        "frequency": rng.integers(0, 3, n).astype(float),
    }
    problem = make_problem(n, q, k, noise, seed=3, **changes)
    assert len(problem.summed.counts) < 0.5 * len(problem.gathered.counts)
    points = random_points(problem, 4)
    points[-1, problem.spread_columns] = 1e-3  # true features that hardly vary
    found = problem.log_evidence(points)
    mean, sd = theta_prior(problem)
    observed, frequency = np.column_stack([problem.w, problem.y]), problem.frequency
    for g, point in enumerate(points):
        precision, right = np.diag(sd**-2.0), np.zeros(len(sd))
        expected = -np.log(sd).sum()
        for i, (design, covariance) in enumerate(zip(*row_moments(problem, point), strict=True)):
            residual = observed[i] - design @ mean
            inverse, counts = np.linalg.inv(covariance), frequency[i]
            precision = precision + counts * design.T @ inverse @ design
            right = right + counts * design.T @ inverse @ residual
            expected -= 0.5 * counts * (residual @ inverse @ residual + np.linalg.slogdet(covariance)[1])
        expected += 0.5 * (right @ np.linalg.solve(precision, right) - np.linalg.slogdet(precision)[1])
        expected -= 0.5 * (q + 1) * frequency.sum() * np.log(2.0 * np.pi)
        assert_allclose(found[g], expected, rtol=1e-10)


@pytest.mark.parametrize("noise", KINDS)
@pytest.mark.parametrize("errors", ["common", "grouped", "own"])
def test_a_frequency_is_a_row_repeated(noise: Noise, errors: Errors) -> None:
    problem = make_problem(q=2, k=1, noise=noise, errors=errors)
    counts = np.array([1, 3, 0, 2, 1, 0, 4, 1])

    def repeat(values: Any) -> Any:
        has_rows = np.ndim(values) > 0 and errors != "common"
        return np.repeat(values, counts, axis=0) if has_rows else values

    repeated = replace(
        problem,
        z=np.repeat(problem.z, counts, axis=0),
        w=np.repeat(problem.w, counts, axis=0),
        y=np.repeat(problem.y, counts),
        feature_covariance=repeat(problem.feature_covariance),
        cross_covariance=repeat(problem.cross_covariance),
        standard_error=repeat(problem.standard_error),
    )
    points = random_points(problem)
    weighted = replace(problem, frequency=counts.astype(float)).condition(points)
    for found, expected in zip(weighted, repeated.condition(points), strict=True):
        assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_a_flat_prior_is_the_limit_of_wide_ones() -> None:
    problem = make_problem(q=1, k=2)
    points = random_points(problem)
    flat = replace(problem, intercept=(0.0, np.inf), slopes=slope_prior(1, beta_sd=[np.inf, 2.0]))
    wide = replace(problem, intercept=(0.0, 1e5), slopes=slope_prior(1, beta_sd=[1e5, 2.0]))
    found, expected = flat.condition(points), wide.condition(points)
    density = 2.0 * np.log(1e5 * np.sqrt(2.0 * np.pi))
    assert_allclose(found.log_evidence, expected.log_evidence + density, rtol=1e-7)
    assert_allclose(found.theta, expected.theta, rtol=1e-6)


@pytest.mark.parametrize("noise", KINDS)
def test_a_row_is_the_integral_over_its_true_feature(noise: Noise) -> None:
    """Given theta, which a row of its own and nothing else can't tell apart, so theta is integrated too."""
    problem = make_problem(n=1, noise=noise, cross_covariance=None)
    point = np.array([0.7, 0.6, 0.8])[: problem.size]
    if noise == "known":
        point = np.array([0.7, 0.8])
    (m,), s, ((t2,),) = (value[0] for value in problem.psi(point[None])[:3])
    u2, e = float(problem.feature_covariance[0, 0, 0]), float(np.asarray(problem.standard_error)[0])
    variance = {"scaled": s**2 * e**2, "additive": s**2 + e**2, "known": e**2}[noise]
    assert problem.intercept is not None
    alpha_mean, alpha_sd = problem.intercept

    def density(x: float) -> float:
        # mu and alpha enter x and y alone: their integrals widen two Gaussians.
        return float(
            stats.norm.pdf(x, 0.0, np.hypot(MEAN_SCALE, np.sqrt(t2)))
            * stats.norm.pdf(problem.w[0, 0], x, np.sqrt(u2))
            * stats.norm.pdf(problem.y[0], alpha_mean + m * x, np.sqrt(alpha_sd**2 + variance))
        )

    center, width = float(problem.w[0, 0]), 12.0 * np.sqrt(u2)
    integral = integrate.quad(density, center - width, center + width, epsabs=0.0, epsrel=1e-11)[0]
    assert_allclose(problem.log_evidence(point[None])[0], np.log(integral), rtol=1e-9)


def test_digits_survive_a_target_that_the_features_explain_to_six_of_them() -> None:
    rng = np.random.default_rng(0)
    x, noise = rng.normal(size=6), 1e-6
    problem = replace(
        make_problem(n=6),
        w=(x + noise * rng.normal(size=6))[:, None],
        y=0.8 * x + noise * rng.normal(size=6),
        feature_covariance=np.full((1, 1), noise**2),
        cross_covariance=None,
        standard_error=None,
    )
    point = np.array([0.8 + 1e-6, 1.3e-6, 1.1])
    designs, covariances = row_moments(problem, point)
    mean, sd = theta_prior(problem)
    with mpmath.workdps(60):
        # The covariances once more, as rounding them would already cost what is tested.
        m, s, t = (mpmath.mpf(value) for value in point)
        u2 = mpmath.mpf(problem.feature_covariance[0, 0])
        row = mpmath.matrix([[t * t + u2, t * t * m], [t * t * m, t * t * m * m + s * s]])
        design = mpmath.matrix(np.vstack(designs).tolist())
        total = design * mpmath.diag([mpmath.mpf(value) ** 2 for value in sd]) * design.T
        for i, a, b in product(range(6), range(2), range(2)):
            total[2 * i + a, 2 * i + b] += row[a, b]
        observed = mpmath.matrix(np.column_stack([problem.w, problem.y]).ravel().tolist())
        deviation = observed - design * mpmath.matrix(mean.tolist())
        square = (deviation.T * mpmath.lu_solve(total, deviation))[0]
        expected = -(square + mpmath.log(mpmath.det(total)) + 12 * mpmath.log(2 * mpmath.pi)) / 2
    assert len(covariances) == 6
    assert_allclose(problem.log_evidence(point[None])[0], float(expected), rtol=1e-8)


def test_changes_of_sign_are_images_of_the_same_density() -> None:
    problem = replace(make_problem(q=3, k=1), cross_covariance=None)
    points = random_points(problem)
    signs = problem.signs(np.ones(problem.size, dtype=bool))
    assert len(np.unique(signs, axis=0)) == 16
    expected = problem.log_density(points)
    for sign in signs:
        assert_allclose(problem.log_density(points * sign), expected, rtol=1e-10)


def test_the_prior_of_the_correlations_is_the_lkj_density() -> None:
    problem = replace(make_problem(q=3, noise="known"), slopes=slope_prior(3, lambda m: np.zeros(len(m))))
    below = np.tril_indices(3, -1)

    def correlations(zeta: Array) -> Array:
        return problem.psi(np.concatenate([np.zeros(3), np.ones(3), zeta])[None]).T[0][below]

    constants = []
    for zeta in np.random.default_rng(0).normal(size=(4, 3)):
        h = 1e-6
        jacobian = [
            (correlations(zeta + h * unit) - correlations(zeta - h * unit)) / (2.0 * h) for unit in np.eye(3)
        ]
        point = np.concatenate([np.zeros(3), np.ones(3), zeta])[None]
        determinant = np.linalg.det(problem.psi(point).T[0])
        shape = (LKJ_SHAPE - 1.0) * np.log(determinant) + np.linalg.slogdet(np.array(jacobian))[1]
        constants.append(problem.log_prior(point)[0] - shape - 3.0 * (np.log(2.0) + stats.t.logpdf(1.0, 4.0)))
    assert_allclose(constants, constants[0], atol=1e-7)


@pytest.mark.parametrize("q", [1, 2, 3])
def test_without_data_the_posterior_is_the_prior(q: int) -> None:
    nodes = solve_structural(make_problem(q=q, k=1, frequency=np.zeros(8)))
    error = 5.0 / np.sqrt(nodes.sample.effective_size)
    assert error < 0.25
    assert_allclose(nodes.sample.log_total, 0.0, atol=error)
    assert_allclose(nodes.sample.weights @ nodes.m, 0.0, atol=error)
    assert_allclose(nodes.sample.weights @ np.square(nodes.m), 1.0, atol=1.5 * error)
    assert_allclose(nodes.sample.weights @ nodes.noise_scale, np.sqrt(2.0 / np.pi), atol=error)
    t = np.sqrt(np.diagonal(nodes.T, axis1=1, axis2=2))
    assert_allclose(
        nodes.sample.weights @ t, 2.0 * stats.t.expect(lambda x: max(x, 0.0), (4.0,)), atol=1.5 * error
    )


def grid_posterior(
    problem: StructuralProblem, upper: tuple[float, float, float]
) -> dict[str, tuple[float, float]]:
    """Means and standard deviations, and the log evidence, by a sum over a tensor grid."""
    m = np.linspace(-upper[0], upper[0], 121)
    s = np.linspace(0.0, upper[1], 51)
    t = np.linspace(0.0, upper[2], 61)
    axes = [m, t] if not problem.noise.has_scale else [m, s, t]
    mesh = np.meshgrid(*axes, indexing="ij")
    points = np.stack([axis.ravel() for axis in mesh], axis=1)
    points[points[:, -1] == 0.0, -1] = 1e-9
    # Trapezoids: s and t start where the density is not zero.
    volume = np.ones(len(points))
    for axis, values in zip(axes, points.T, strict=True):
        volume *= (axis[1] - axis[0]) * np.where(values <= 1e-9, 0.5 if axis[0] == 0.0 else 1.0, 1.0)
    log_density = np.concatenate([problem.log_density(part) for part in np.array_split(points, 20)])
    weights = np.exp(log_density - log_density.max()) * volume
    total = float(weights.sum())
    edge = np.any([np.isclose(np.abs(points[:, i]), axis[-1]) for i, axis in enumerate(axes)], axis=0)
    assert weights[edge].sum() < 1e-3 * total
    psi = problem.psi(points)
    values = {"m": psi.m[:, 0], "s": psi.noise_scale, "T": psi.T[:, 0, 0]}
    moments = {}
    for name, value in values.items():
        mean = float(weights @ value / total)
        moments[name] = mean, float(np.sqrt(weights @ np.square(value - mean) / total))
    moments["log evidence"] = float(np.log(total) + log_density.max()), 1.0
    return moments


@pytest.mark.parametrize("noise", KINDS)
@pytest.mark.parametrize("reliability", [0.8, 0.3])
def test_nodes_agree_with_a_grid(noise: Noise, reliability: float) -> None:
    problem = measured(20, reliability, noise)
    nodes = solve_structural(problem)
    assert nodes.sample.k_hat < 0.7
    assert nodes.sample.effective_size > 1000.0
    error = 1.0 / np.sqrt(nodes.sample.effective_size)
    expected = grid_posterior(problem, (5.0, 2.5, 2.6))
    assert_allclose(nodes.sample.log_total, expected["log evidence"][0], atol=5.0 * error)
    for name, value in {"m": nodes.m[:, 0], "s": nodes.noise_scale, "T": nodes.T[:, 0, 0]}.items():
        mean = float(nodes.sample.weights @ value)
        sd = float(np.sqrt(nodes.sample.weights @ np.square(value - mean)))
        square = np.square(value - mean)
        assert_allclose(mean, expected[name][0], atol=5.0 * error * sd + 1e-12)
        # A standard deviation's Monte Carlo error, by the delta method.
        spread = float(np.sqrt(nodes.sample.weights @ np.square(square - sd**2)))
        assert_allclose(sd, expected[name][1], atol=5.0 * error * spread / (2.0 * sd) if sd > 1e-9 else 1e-12)


@pytest.mark.parametrize(("n", "q", "least"), [(50, 1, 3000.0), (1000, 1, 3300.0), (200, 3, 2000.0)])
def test_nodes_are_worth_most_of_their_number_where_data_behave(n: int, q: int, least: float) -> None:
    nodes = solve_structural(measured(n, 0.85, q=q))
    assert len(nodes.sample.weights) == 4096
    assert_allclose(nodes.sample.weights.sum(), 1.0)
    assert nodes.sample.effective_size > least
    assert nodes.sample.k_hat < 0.4


def test_rounds_are_added_where_nodes_are_worth_little() -> None:
    """Correlated features with error leave the smallest variance of the true ones open: far from Gaussian."""
    nodes = solve_structural(measured(30, 0.3, q=3, correlation=0.95))
    assert len(nodes.sample.weights) > 4096
    assert nodes.sample.effective_size > 1000.0
    assert nodes.sample.k_hat < 0.7


def test_a_mode_where_the_feature_explains_nothing_is_found_too() -> None:
    problem = replace(
        measured(20, 0.3, "additive", seed=6, spread=1.5),
        slopes=slope_prior(1, lambda m: stats.laplace.logpdf(m).sum(axis=1)),
    )
    assert len(_starts(Following.of(problem))[0]) == 2
    for seed in range(3):
        assert solve_structural(problem, seed=seed).sample.k_hat < 0.6


def test_two_modes_get_their_shares() -> None:
    """A prior with a peak at no effect and one at two, and data that do not decide."""
    problem = replace(
        measured(20, 0.3, seed=3),
        slopes=slope_prior(
            1, lambda m: np.logaddexp(*stats.norm.logpdf(m[:, 0], [[0.0], [2.0]], 0.1)) - np.log(2.0)
        ),
    )
    expected = grid_posterior(problem, (5.0, 2.5, 3.5))["m"][0]
    assert 0.1 < expected < 1.9
    following = Following.of(problem)
    centers = np.array([start.center for start in _starts(following)[0]])
    assert_allclose(sorted(following.points(centers)[0][:, 0]), [0.0, 2.0], atol=0.3)
    nodes = solve_structural(problem)
    assert nodes.sample.k_hat < 0.7
    assert_allclose(
        nodes.sample.weights @ nodes.m[:, 0], expected, atol=5.0 / np.sqrt(nodes.sample.effective_size)
    )


def test_unrelated_features_are_a_start_only_where_data_leave_them_possible() -> None:
    assert len(_starts(Following.of(measured(6, 0.5)))[0]) == 2
    assert len(_starts(Following.of(measured(1000, 0.9)))[0]) == 1


def test_the_mode_is_found_where_it_is_a_thousand_standard_deviations_from_the_guess() -> None:
    nodes = solve_structural(replace(measured(50, 0.7), frequency=np.full(50, 1e6)))
    assert nodes.sample.effective_size > 3000.0


def test_nodes_are_better_than_independent_draws() -> None:
    """Quasi-random nodes: means scatter by far less than the effective size says."""
    problem = measured(50, 0.85)
    means = []
    for seed in range(6):
        nodes = solve_structural(problem, 1024, seed)
        means.append(float(nodes.sample.weights @ nodes.m[:, 0]))
    variance = float(nodes.sample.weights @ np.square(nodes.m[:, 0] - means[-1]))
    assert np.std(means) < 0.4 * np.sqrt(variance / nodes.sample.effective_size)


def test_a_seed_settles_every_number() -> None:
    problem = measured(30, 0.7)
    first, again, other = (solve_structural(problem, 256, seed) for seed in (3, 3, 4))
    assert np.array_equal(first.sample.weights, again.sample.weights)
    assert np.array_equal(first.theta, again.theta)
    assert not np.array_equal(first.m, other.m)


def test_nodes_are_centred_on_the_slope_without_attenuation() -> None:
    problem = measured(5000, 0.5)
    nodes = solve_structural(problem)
    # y = x + noise before both were standardised: the slope of the standardised ones is the ratio of the spreads.
    mean, sd = float(nodes.sample.weights @ nodes.m[:, 0]), float(np.std(nodes.m[:, 0]))
    naive = float(problem.w[:, 0] @ problem.y / (problem.w[:, 0] @ problem.w[:, 0]))
    assert mean > naive + 10.0 * sd


def test_no_mode_is_made_of_lost_digits() -> None:
    """Slopes may be huge where next to no true variance is along them: what they leave of y is then rounding."""
    problem, rng, n = measured(50, 0.8, q=2), np.random.default_rng(0), 4000
    likely = problem.log_evidence(np.array([[1.0, 1.0, 0.3, 0.9, 0.9, 0.5]]))[0]
    for size in (1e5, 1e7, 1e8, 1e9):  # without a guard 75 nats above the likely one
        points = np.empty((n, 6))
        points[:, 0], points[:, 1] = size * (1.0 + rng.normal(size=n) / size), -size
        points[:, 2], points[:, 3:5] = 0.01 + np.abs(0.3 * rng.normal(size=n)), 0.9
        points[:, 5] = rng.uniform(17.0, 19.0, n)
        assert problem.log_evidence(points).max() < likely - 20.0


def test_triangular_systems_are_solved() -> None:
    rng = np.random.default_rng(0)
    lower = np.tril(rng.normal(size=(3, 4, 4))) + 2.0 * np.eye(4)
    sides = rng.normal(size=(3, 4, 2))
    for own, found in zip(sides, forward(lower, sides), strict=True):
        assert found.shape == own.shape
    expected = [solve_triangular(*pair, lower=True) for pair in zip(lower, sides, strict=True)]
    assert_allclose(forward(lower, sides), expected, rtol=1e-12)
    assert_allclose(forward(lower, np.eye(4)) @ lower, np.broadcast_to(np.eye(4), lower.shape), atol=1e-12)
