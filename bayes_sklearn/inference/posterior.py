"""What every engine returns: weighted nodes, each a Gaussian for the coefficients."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from ..measurements.checks import check_squares
from ..measurements.compressed import Rows
from .groups.drawn import DrawnEffects
from .groups.effects import Conditional, Effects
from .node_covariances import Factors, NodeCovariances
from .structural.true_features import TrueFeatures
from .structural.true_mixture import TrueMixture

Array = NDArray[np.float64]

# Numbers in the largest temporary array of a pass over rows: it should stay in the processor's cache.
_BLOCK_NUMBERS = 2**17


@dataclass(frozen=True, eq=False)
class Chains:
    """How sampled nodes came about: chain after chain, equally many draws in each."""

    count: int
    """Number of chains."""
    statistics: Mapping[str, Array]
    """(chain, draw) what the sampler says of every draw, by ArviZ's names."""
    scales: Mapping[str, Array]
    """(chain, draw, ...) scales of a mixture prior, in the model's units."""

    def split(self, values: Array) -> Array:
        """Return one value per node, (G, ...), as (chain, draw, ...)."""
        return values.reshape(self.count, -1, *values.shape[1:])

    @property
    def n_divergent(self) -> int:
        """How many draws ended a trajectory that went astray."""
        return int(np.sum(self.statistics.get("diverging", 0)))

    @property
    def energy_information(self) -> float:
        """Least Bayesian fraction of missing information of a chain (Betancourt 2016, arXiv:1604.00695, section 3).

        NaN where the sampler gives no energy.
        """
        energy = self.statistics.get("energy")
        if energy is None or energy.shape[1] < 2:
            return np.nan
        return float((np.square(np.diff(energy, axis=1)).mean(axis=1) / energy.var(axis=1)).min())


@dataclass(frozen=True, eq=False)
class Posterior:
    """p(B, s | data) as weighted nodes: at node g the scale is s_g and B is Normal(B_g, C_g), (2).

    B is (intercept, coefficients) with respect to (1, x - center); without an intercept its first entry is zero.
    """

    weights: Array
    """(G,) summing to one."""
    location: Array
    """(G, P) the nodes' means of B."""
    covariances: NodeCovariances
    noise_scale: Array
    """(G,) the nodes' noise scales."""
    center: Array
    """(p,) the point about which the intercept is stated."""
    log_noise_density: Array | None = None
    """(G,) where the nodes are a quadrature rule: the log density of log s at them, up to a constant."""
    log_evidence: float | None = None
    """Log marginal likelihood; None where improper priors leave it undefined, or the engine doesn't give it."""
    chains: Chains | None = None
    """Where the nodes are a sampler's draws: of which chain, and what it says of them."""
    true_features: TrueFeatures | TrueMixture | None = None
    """Where features are measured with error: how the true ones are distributed."""
    auxiliary: Mapping[str, Array] = field(default_factory=dict)
    """By name, (G,) each: the nodes' values of the likelihood's further parameters, in no unit of the data."""
    scatter: Array | None = None
    """(G,) noise "auto": the nodes' scatter beside the multiplied errors, in the target's unit; else None."""
    prior_scale: Array | None = None
    """(G,) where it is learned: the nodes' scale of the coefficients' prior, in the model's units."""
    geometry: Array | None = None
    """(geometries,) where there are several: posterior probabilities of the prior's geometries."""
    scale_masses: Mapping[str, tuple[Array, Array]] = field(default_factory=dict)
    """By name, where nodes are too few to tell: logs of a scale, (K,), and the posterior probability below them."""
    error_share: Array | None = None
    """(G,) where B's deviations at each node are proportional to the noise, given its ratio to the prior's scale,
    (11b): the share that multiplied errors have in its variance, the scatter the rest; else None."""
    effects: Effects | DrawnEffects | None = None
    """Where rows are in groups: the groups' effects."""

    @cached_property
    def is_spread(self) -> bool:
        """Whether B is spread about its mean at some node."""
        return bool(self.covariances.root(self.weights).any())

    @cached_property
    def noise_terms(self) -> tuple[Array, Array, Array]:
        """What a variance of noise is made of at the nodes, (G,) each: one, the squared noise scale, and scatter."""
        one = np.ones(len(self.weights))
        scatter = np.zeros_like(one) if self.scatter is None else np.square(self.scatter)
        return one, np.square(self.noise_scale), scatter

    @property
    def further(self) -> dict[str, Array]:
        """Further parameters by name, (G,) each: the likelihood's, and those of wild readings."""
        true = self.true_features
        return {**self.auxiliary, **(true.outliers if isinstance(true, TrueMixture) else {})}

    @cached_property
    def mean(self) -> Array:
        """Posterior mean of B, (P,)."""
        return self.weights @ self.location

    @cached_property
    def root(self) -> Array:
        """Upper triangle A, (P, P), with A'A the posterior covariance of B: within the nodes and between them.

        Never squared on the way, so that features on very different scales keep their digits.
        """
        between = (self.location - self.mean) * np.sqrt(self.weights)[:, None]
        size = len(self.mean)
        stacked = np.concatenate([self.covariances.root(self.weights), between, np.zeros((size, size))])
        return np.asarray(np.linalg.qr(stacked, mode="r"))

    @cached_property
    def narrowest(self) -> tuple[float, Array, Array]:
        """The line's least variance, where that is, (p,), and a map of deviations from there to what is beyond it.

        The map, (m, p + 1), has the constant of each row first; the squared length of what it makes is added.
        """
        triangle = np.asarray(np.linalg.qr(np.roll(self.root, -1, axis=1), mode="r"))
        of_features, constant, least = triangle[:-1, :-1], triangle[:-1, -1], float(triangle[-1, -1])
        with np.errstate(all="ignore"):
            try:
                away = np.linalg.solve(of_features, -constant)
            except np.linalg.LinAlgError:
                away = np.full(len(constant), np.inf)
            center = self.center + away
            way, place = np.abs(of_features) @ np.abs(away), np.abs(of_features) @ np.abs(center)
        # Digits that rounding of the way there, and of the place, takes from the line's least deviation.
        if not (way.max(initial=0.0) <= 1e2 * abs(least) and place.max(initial=0.0) <= 5e4 * abs(least)):
            return 0.0, self.center, self.root
        return least**2, center, np.insert(of_features, 0, 0.0, axis=1)

    @cached_property
    def covariance(self) -> Array:
        """Posterior covariance of B, (P, P)."""
        return self.root.T @ self.root

    def __getstate__(self) -> dict[str, Any]:
        # Mean and root, which every fit has computed, go into files, so that no other library rounds them otherwise.
        found_again = ("covariance", "is_spread", "narrowest", "noise_terms", "_measured")
        kept = {name: value for name, value in vars(self).items() if name not in found_again}
        return {**kept, "scale_masses": dict(self.scale_masses)}

    def linear(self, design: Array) -> tuple[Array, Array]:
        """Return mean and variance at every node of each design row's a'B, (rows, G) each."""
        check_squares(design)
        means = design @ self.location.T
        return means, np.broadcast_to(self.covariances.quadratic(design), means.shape)

    def line(self, design: Array, members: NDArray[np.intp] | None) -> tuple[Array, Array]:
        """Return mean and variance at every node of the line at rows, (rows, G) each, in the model's units."""
        if not isinstance(effects := self.effects, Effects) or members is None:
            return self.linear(design)
        terms = effects.layout.terms(design[:, 1:])
        means, variances, left = self.with_effects(
            lambda part: effects.at(part, design, terms, members), len(design)
        )
        return means, variances + left

    def with_effects(self, given: Callable[[int], Conditional], size: int) -> tuple[Array, Array, Array]:
        """Return what a number of lines, given B for a part of the nodes, are at all of them.

        Returns
        -------
        means, variances, left : ndarray of shape (size, G)
            Variances are those by B; `left` is what effects add, given B.
        """
        effects = self.effects
        if not isinstance(effects, Effects):
            raise ValueError("The posterior knows nothing of groups.")
        means, variances, left = np.empty((3, size, len(self.weights)))
        for part in range(effects.n_parts):
            nodes = effects.nodes(part)
            if len(nodes):
                line = given(part)
                means[:, nodes] = line.constant[:, None] + line.design @ self.location[nodes].T
                variances[:, nodes] = self.covariances.take(nodes).quadratic(line.design)
                left[:, nodes] = line.variance[:, None] * np.square(effects.noise[nodes])
        return means, variances, left

    def draw(self, size: int, rng: np.random.Generator) -> tuple[Array, NDArray[np.intp]]:
        """Return draws of B, (size, P), and the node that each is of, (size,)."""
        nodes = rng.choice(len(self.weights), size=size, p=self.weights)
        return self.location[nodes] + self.covariances.draw(nodes, rng), nodes

    def mapped(self, matrix: Array, shift: Array, noise_unit: float, center: Array) -> Posterior:
        """Return the posterior of shift + matrix @ B and of noise_unit * s."""
        return replace(
            self,
            location=self.location @ matrix.T + shift,
            covariances=self.covariances.mapped(matrix),
            noise_scale=self.noise_scale * noise_unit,
            center=center,
            scale_masses=in_unit(self.scale_masses, "noise_scale", noise_unit),
        )

    def measured(self, error: Array | None) -> tuple[Posterior, Array]:
        """Return the posterior of the line in measured features, and the variance that their errors leave, (22).

        Parameters
        ----------
        error : ndarray of shape (q, q) or (q, q + 1), or None
            Covariance of the errors of new rows, that with the target's error in a last column; None: their features
            are true.

        Returns
        -------
        posterior : Posterior
        feature_error : ndarray of shape (G,)
        """
        true, key = self.true_features, None if error is None else (error.shape, error.tobytes())
        if true is None:
            raise ValueError("No feature of the model has an error.")
        before = self.__dict__.get("_measured")
        if before is not None and before[0] == key:  # a server's rows come one by one, measured alike
            return before[1]
        location, factors, feature_error = true.coefficients(error)
        model = replace(self, location=location, covariances=Factors(factors))
        matrix = np.diag(true.y_scale / np.append(1.0, true.x_scale))
        shift = np.append(true.y_mean, np.zeros(true.n_features))
        found = model.mapped(matrix, shift, 1.0, true.x_mean), true.y_scale**2 * feature_error
        self.__dict__["_measured"] = key, found
        return found

    def at_factor(self, factor: float) -> Posterior:
        """Return the posterior whose noise scale, and factor of features' errors, is so many times this one's."""
        true = self.true_features
        if isinstance(true, TrueFeatures) and true.error_factor is not None:
            true = replace(true, error_factor=factor * true.error_factor)
        return replace(self, noise_scale=factor * self.noise_scale, true_features=true)

    def sharing(self, scale: Array) -> Posterior:
        """Return the posterior of measurements, whose errors' covariances with the features' are multiplied, (G,)."""
        true = self.true_features
        return self if true is None else replace(self, true_features=replace(true, sharing=scale))

    def noise_quantiles(self, probabilities: Array) -> Array:
        """Return posterior quantiles of the noise scale."""
        if "noise_scale" in self.scale_masses:
            return self.quantiles("noise_scale", self.noise_scale, probabilities)
        if self.log_noise_density is None or len(self.weights) == 1:
            return self.quantiles("noise_scale", self.noise_scale, probabilities)
        fine, mass = self._noise_mass(np.argsort(self.noise_scale))
        return np.exp(np.interp(probabilities, mass, fine))

    def quantiles(self, name: str, values: Array, probabilities: Array) -> Array:
        """Return posterior quantiles of a parameter, of which the nodes have these values, (G,)."""
        if name in self.scale_masses:
            logs, mass = self.scale_masses[name]
            return np.exp(np.interp(probabilities, mass, logs))
        if self.chains is None and len(values) > 1 and (values > 0.0).all():
            # A lattice has few values of each parameter: half of the mass of each lies below it.
            steps, which = np.unique(values, return_inverse=True)
            mass = np.asarray(np.bincount(which, self.weights), dtype=np.float64)
            return np.exp(np.interp(probabilities, np.cumsum(mass) - 0.5 * mass, np.log(steps)))
        weights = self.weights
        return np.asarray(np.quantile(values, probabilities, method="inverted_cdf", weights=weights))

    def noise_cdf(self, value: float) -> float:
        """Return the posterior probability of a noise scale at or below a value."""
        if self.log_noise_density is None:
            return self.cdf("noise_scale", self.noise_scale, value)
        fine, mass = self._noise_mass(np.argsort(self.noise_scale))
        return float(np.interp(np.log(value), fine, mass))

    def cdf(self, name: str, values: Array, value: float) -> float:
        """Return the posterior probability of a parameter, of which nodes have these values, at or below a value."""
        if name in self.scale_masses:
            logs, mass = self.scale_masses[name]
            return float(np.interp(np.log(value), logs, mass, left=0.0, right=1.0))
        return float(self.weights @ (values <= value))

    def _noise_mass(self, order: NDArray[np.intp]) -> tuple[Array, Array]:
        """Return logs of the noise scale, and the posterior probability below them.

        Between the nodes of a quadrature rule the density is smooth: its log is interpolated, then integrated.
        """
        log_scale = np.log(self.noise_scale[order])
        fine = np.linspace(log_scale[0], log_scale[-1], 4001)
        log_density = CubicSpline(log_scale, np.asarray(self.log_noise_density)[order])(fine)
        density = np.exp(log_density - log_density.max())
        mass = np.concatenate([[0.0], np.cumsum(0.5 * (density[1:] + density[:-1]))])
        return fine, mass / mass[-1]


class ScaleMasses(Mapping[str, tuple[Array, Array]]):
    """`Posterior.scale_masses` that are worked out when somebody asks: most fits are never asked."""

    def __init__(self, find: Callable[[], Mapping[str, tuple[Array, Array]]]):
        self._find = find

    @cached_property
    def _found(self) -> Mapping[str, tuple[Array, Array]]:
        return self._find()

    def __getitem__(self, name: str) -> tuple[Array, Array]:
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


def in_unit(
    masses: Mapping[str, tuple[Array, Array]], name: str, unit: float
) -> Mapping[str, tuple[Array, Array]]:
    """Return masses of scales, one of them in another unit."""

    def find() -> Mapping[str, tuple[Array, Array]]:
        if name not in masses:
            return masses
        logs, mass = masses[name]
        return {**masses, name: (logs + np.log(unit), mass)}

    return ScaleMasses(find) if isinstance(masses, ScaleMasses) else find()


def row_blocks(n: int, width: int) -> Iterator[slice]:
    """Yield slices of n rows whose temporary arrays, `width` numbers per row, stay small."""
    length = max(1, _BLOCK_NUMBERS // max(width, 1))
    for start in range(0, n, length):
        yield slice(start, min(start + length, n))


def mapped_blocks(maps: Array, center: Array, rows: Rows) -> Iterator[tuple[slice, Array]]:
    """Yield maps @ (1, x - center) a block of rows at a time, (m, rows); the array is used again.

    Maps with a constant come first.
    """
    n, p = len(rows.X), rows.n_features
    # Long rows of a buffer, not short rows of X, are what NumPy runs through fast.
    length = min(n, max(1, _BLOCK_NUMBERS // (p + 2)))
    centred, mapped = np.empty((p, length)), np.empty((len(maps), length))
    here = rows.here(np.append(center, 0.0))[:-1, None]
    constant = maps[: int(np.flatnonzero(maps[:, 0]).max(initial=0)) + 1, :1]
    for block in row_blocks(n, p + 2):
        size = block.stop - block.start
        x, out = centred[:, :size], mapped[:, :size]
        np.subtract(rows.take(block).T, here, out=x)
        np.matmul(maps[:, 1:], x, out=out)
        out[: len(constant)] += constant
        yield block, out


def line_mean(posterior: Posterior, rows: Rows) -> Array:
    """Return the posterior mean of the regression line at every row, (n,)."""
    mean = np.empty(len(rows.X))
    for block, mapped in mapped_blocks(posterior.mean[None, :], posterior.center, rows):
        mean[block] = mapped[0]
    return mean


def line_mean_and_variance(
    posterior: Posterior, rows: Rows, noise: Array | float = 0.0, *, root: bool = False
) -> tuple[Array, Array]:
    """Return mean and variance at every row, (n,) each, in one pass.

    The variance of the line at a row is a least one and the squared length of a map of the row: one matrix product a
    block gives it and the mean together. `noise` is added to it, one number or (n,); with `root` its square root is
    returned.
    """
    mean, variance = np.empty((2, len(rows.X)))
    least, center, of_features = posterior.narrowest
    own = posterior.mean.copy()
    own[0] += own[1:] @ (center - posterior.center)
    noise = noise + least
    for block, mapped in mapped_blocks(np.concatenate([own[None], of_features]), center, rows):
        mean[block] = mapped[0]
        here = variance[block]
        np.einsum("ij,ij->j", mapped[1:], mapped[1:], out=here)
        here += noise[block] if isinstance(noise, np.ndarray) and noise.ndim else noise
        if root:
            np.sqrt(here, out=here)
    return mean, variance
