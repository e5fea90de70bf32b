"""What a new measurement's error will be."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..likelihoods.base import Likelihood
from ..likelihoods.noise import Noise
from ..measurements.checks import check_counts, check_vector
from ..measurements.target_errors import CountErrors, check_exposure

__all__ = ["NoiseModel", "Part", "Parts", "new_counts"]


Array = NDArray[np.float64]


def new_counts(
    n: int,
    likelihood: Likelihood,
    counts: object,
    y_err: object,
    exposure: object,
    columns: Mapping[str, Array],
) -> Array | None:
    """Return the counts behind new shares, (n,) or one for all, 0 where not known, or exposures; None: none stated.

    Raises
    ------
    TypeError, ValueError
        Naming the argument.
    """
    if likelihood.per == "exposure":
        for name, value in (("counts", counts), ("y_err", y_err)):
            if value is not None:
                raise ValueError(
                    f"{name} is given, but under likelihood={likelihood.name!r} the error of a count of events"
                    " follows from the count: give exposure instead, or leave it out for rates."
                )
        return check_exposure(n, exposure, columns.get("exposure_column"))
    if y_err is not None or "y_err_column" in columns:
        raise ValueError(
            f"y_err is given, but under likelihood={likelihood.name!r} the error of a new share follows from its"
            " count: give counts instead, or leave it out for the share that underlies."
        )
    stated = _stated(n, {"counts": (counts, "count_column")}, columns)
    if "counts" in stated:
        check_counts(stated["counts"], "counts")
    return stated.get("counts")


def _stated(
    n: int,
    given: Mapping[str, tuple[object, str]],
    columns: Mapping[str, Array],
    positive: Collection[str] = (),
) -> dict[str, Array]:
    """Return what new rows state by argument or by column of X."""
    stated = {}
    for name, (value, column) in given.items():
        if value is not None and column in columns:
            raise ValueError(f"{name} is given, but X holds it, too, in its {column}: leave {name} out.")
        if column in columns:
            stated[name] = check_vector(columns[column], n, column, positive=name in positive)
        elif value is not None:
            stated[name] = check_vector(value, n, name, positive=name in positive)
    return stated


class Part(NamedTuple):
    """A part of the variance of noise, ``fixed + multiplied * s**2 + scattered * t**2``, numbers or (n,) each."""

    fixed: Array | float = 0.0
    multiplied: Array | float = 0.0
    scattered: Array | float = 0.0


Parts = dict[str, Part]


@dataclass(frozen=True)
class NoiseModel:
    """How the noise of a new measurement comes from the noise scale s, a scatter t and a stated error e, (14).

    The parts of its variance are told apart by where they come from.
    """

    noise: Noise
    kind: Literal["counts", "standard_error", "none"]
    typical_error: float
    """Root mean square of the training rows' errors: a new row's, where it states none."""
    count_errors: CountErrors
    """How counts give errors."""

    def check(self, n: int, counts: object, y_err: object, columns: Mapping[str, Array]) -> dict[str, Array]:
        """Return what n new rows state of their errors, by argument or by column of X, checked.

        Raises
        ------
        TypeError, ValueError
            Naming the argument.
        """
        given = {"counts": (counts, "count_column"), "y_err": (y_err, "y_err_column")}
        # Beside a scatter a measurement may be without error of its own.
        positive = () if self.noise.scatters else ("y_err",)
        stated = _stated(n, given, columns, positive)
        if len(stated) == 2:
            raise ValueError(
                "Both counts and y_err are given: a new measurement's error comes from one of them."
            )
        if "counts" in stated:
            if self.kind != "counts":
                raise ValueError(
                    "counts are given, but the model was fitted without counts behind its shares. Fit with"
                    " weight_type='counts' (or count_column), or leave counts out."
                )
            check_counts(stated["counts"], "counts", whole=False)
        if "y_err" in stated and self.kind == "none" and self.noise.only_multiplies:
            raise ValueError(
                "y_err is given, but the model was fitted without errors of y, so that its noise is no multiple of"
                " one. Fit with y_err, or use noise='additive'."
            )
        return stated

    def parts(
        self, share: Array | None = None, counts: Array | None = None, y_err: Array | None = None
    ) -> Parts:
        """Return each part of the noise variance.

        Parameters
        ----------
        share : ndarray of shape (n,), optional
            Predicted shares, at which counts give their errors.
        counts : ndarray of shape (n,), optional
            The counts behind the new measurements.
        y_err : ndarray of shape (n,) or (), optional
            Their standard errors.
        """
        if counts is not None and share is not None:
            bernoulli = self.count_errors.bernoulli_variance(share, counts)
            error = self.count_errors.standard_error(bernoulli, counts)
            finite = bernoulli / np.maximum(counts, 1.0)
            if not counts.all():  # a share of nothing states no error
                error = np.where(counts > 0.0, error, self.typical_error)
                finite = np.where(counts > 0.0, finite, 0.0)
            return self._split({"finite_count": finite, "scatter": np.maximum(error**2 - finite, 0.0)})
        if y_err is not None:
            return self._split({"target_error": np.square(y_err)})
        if self.kind == "none":
            return {"scatter": Part(multiplied=1.0)}
        return self._split({"target_error": self.typical_error**2})

    def sharing(self, noise_scale: Array) -> Array:
        """Return what covariances of features' errors with the target's are multiplied by at noise scales, (G,)."""
        return noise_scale if self.noise.multiplies else np.ones_like(noise_scale)

    def _split(self, squares: dict[str, Array | float]) -> Parts:
        """Put squared errors where the kind of noise has them."""
        multiplied = self.noise.multiplies
        parts = {
            name: Part(multiplied=square) if multiplied else Part(square) for name, square in squares.items()
        }
        scatter = parts.get("scatter", Part())
        if self.noise.only_scatters:
            parts["scatter"] = scatter._replace(multiplied=1.0)
        if self.noise.combined:
            parts["scatter"] = scatter._replace(scattered=1.0)
        return parts
