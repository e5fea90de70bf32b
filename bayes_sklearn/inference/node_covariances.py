"""Covariance matrices of the coefficients at a posterior's nodes, in the forms that engines have them in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Factors", "Joined", "NodeCovariances", "SharedBasis"]

Array = NDArray[np.float64]


class NodeCovariances(Protocol):
    """The covariance matrices C_g of B at the nodes, in whatever form an engine has them cheaply."""

    def __len__(self) -> int:
        """Return G."""

    def take(self, nodes: NDArray[np.intp]) -> NodeCovariances:
        """Return those of some nodes."""

    def quadratic(self, design: Array) -> Array:
        """Return a' C_g a for each row a of the design, (rows, G) or (rows, 1)."""

    def root(self, weights: Array) -> Array:
        """Return a matrix A of P columns with A'A = sum_g w_g C_g."""

    def draw(self, nodes: NDArray[np.intp], rng: np.random.Generator) -> Array:
        """Return one draw of Normal(0, C_g) for each node named, (draws, P)."""

    def mapped(self, matrix: Array) -> NodeCovariances:
        """Return the covariances of matrix @ B."""


@dataclass(frozen=True, eq=False)
class SharedBasis:
    """C_g = basis diag(variances_g) basis': one basis serves every node."""

    basis: Array
    """(P, K)"""
    variances: Array
    """(G, K)"""

    def __len__(self) -> int:
        return len(self.variances)

    def take(self, nodes: NDArray[np.intp]) -> SharedBasis:
        return replace(self, variances=self.variances[nodes])

    def quadratic(self, design: Array) -> Array:
        with np.errstate(over="ignore"):  # rows beyond any unit have no finite variance
            return np.square(design @ self.basis) @ self.variances.T

    def root(self, weights: Array) -> Array:
        return (self.basis * np.sqrt(weights @ self.variances)).T

    def draw(self, nodes: NDArray[np.intp], rng: np.random.Generator) -> Array:
        standard = rng.standard_normal((len(nodes), self.basis.shape[1]))
        return (standard * np.sqrt(self.variances[nodes])) @ self.basis.T

    def mapped(self, matrix: Array) -> SharedBasis:
        return replace(self, basis=matrix @ self.basis)


@dataclass(frozen=True, eq=False)
class Factors:
    """C_g = F_g F_g', with a factor of its own for every node."""

    factors: Array
    """(G, P, K)"""

    def __len__(self) -> int:
        return len(self.factors)

    def take(self, nodes: NDArray[np.intp]) -> Factors:
        return replace(self, factors=self.factors[nodes])

    def quadratic(self, design: Array) -> Array:
        spread = design @ self.factors  # (G, rows, K)
        return np.einsum("gik,gik->ig", spread, spread)

    def root(self, weights: Array) -> Array:
        scaled = self.factors * np.sqrt(weights)[:, None, None]
        return scaled.transpose(0, 2, 1).reshape(-1, self.factors.shape[1])

    def draw(self, nodes: NDArray[np.intp], rng: np.random.Generator) -> Array:
        standard = rng.standard_normal((len(nodes), self.factors.shape[2]))
        drawn = np.empty((len(nodes), self.factors.shape[1]))
        for node in np.unique(nodes):
            drawn[nodes == node] = standard[nodes == node] @ self.factors[node].T
        return drawn

    def mapped(self, matrix: Array) -> Factors:
        return replace(self, factors=matrix @ self.factors)


@dataclass(frozen=True, eq=False)
class Joined:
    """Nodes one after the other, whose covariances are in different forms."""

    parts: tuple[NodeCovariances, ...]
    sizes: tuple[int, ...]
    """How many nodes each has."""

    @classmethod
    def of(cls, parts: Sequence[NodeCovariances]) -> NodeCovariances:
        """Return the parts in one, those of the same form in one part."""
        whole: list[NodeCovariances] = []
        for part in parts:
            last = whole[-1] if whole else None
            if isinstance(part, Joined):
                whole += part.parts
            elif isinstance(last, SharedBasis) and isinstance(part, SharedBasis) and last.basis is part.basis:
                whole[-1] = SharedBasis(part.basis, np.concatenate([last.variances, part.variances]))
            elif isinstance(last, Factors) and isinstance(part, Factors):
                whole[-1] = Factors(np.concatenate([last.factors, part.factors]))
            else:
                whole.append(part)
        return whole[0] if len(whole) == 1 else cls(tuple(whole), tuple(len(part) for part in whole))

    def __len__(self) -> int:
        return sum(self.sizes)

    def take(self, nodes: NDArray[np.intp]) -> NodeCovariances:
        ends = np.cumsum(self.sizes)
        which = np.searchsorted(ends, nodes, side="right")
        if (np.diff(which) < 0).any():
            raise ValueError("Nodes of several parts are taken in their order.")
        return Joined.of(
            [self.parts[i].take(nodes[which == i] - (ends[i] - self.sizes[i])) for i in np.unique(which)]
        )

    def quadratic(self, design: Array) -> Array:
        found = [
            np.broadcast_to(part.quadratic(design), (len(design), size))
            for part, size in zip(self.parts, self.sizes, strict=True)
        ]
        return np.concatenate(found, axis=1)

    def root(self, weights: Array) -> Array:
        own = np.split(weights, np.cumsum(self.sizes)[:-1])
        return np.concatenate([part.root(share) for part, share in zip(self.parts, own, strict=True)])

    def draw(self, nodes: NDArray[np.intp], rng: np.random.Generator) -> Array:
        ends = np.cumsum(self.sizes)
        which = np.searchsorted(ends, nodes, side="right")
        drawn = [
            part.draw(nodes[which == i] - (ends[i] - self.sizes[i]), rng) for i, part in enumerate(self.parts)
        ]
        answer = np.empty((len(nodes), max(part.shape[1] for part in drawn)))
        for i, part in enumerate(drawn):
            answer[which == i] = part
        return answer

    def mapped(self, matrix: Array) -> Joined:
        return replace(self, parts=tuple(part.mapped(matrix) for part in self.parts))
