"""How a row's noise comes from its known error, a noise scale and a scatter.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["ADDITIVE", "AUTO", "COMMON", "KNOWN", "NOISES", "SCALED", "Noise"]


@dataclass(frozen=True)
class Noise:
    """A kind of noise, (1), in the unit of y: its variance is ``multiple**2 * error**2 + scatter**2``.

    Examples
    --------
    >>> from bayes_sklearn.likelihoods.noise import NOISES
    >>> NOISES["additive"].multiplies, NOISES["additive"].scatters
    (False, True)
    """

    name: str
    """What the estimator's parameter `noise` calls it."""
    multiplies: bool
    """Whether a noise scale multiplies known errors; else they are taken as they are."""
    scatters: bool
    """Whether a scatter is added to them."""
    of_features: bool = False
    """Whether the multiple is of the features' errors, too, (79)."""

    def __str__(self) -> str:
        return self.name

    @property
    def has_scale(self) -> bool:
        """Whether there is a noise scale to be found: the multiple, or the scatter where it is alone."""
        return self.multiplies or self.scatters

    @property
    def combined(self) -> bool:
        """Whether there are both, the multiple as the noise scale, and the scatter beside it."""
        return self.multiplies and self.scatters

    @property
    def only_multiplies(self) -> bool:
        return self.multiplies and not self.scatters

    @property
    def only_scatters(self) -> bool:
        """Whether the scatter is alone: it is the noise scale then."""
        return self.scatters and not self.multiplies

    def parts(self, noise_scale: Any, scatter: Any) -> tuple[Any, Any]:
        """Return the multiple and the scatter, numbers, arrays or tensors.

        Parameters
        ----------
        noise_scale : array-like
            Not looked at where there is none.
        scatter : array-like
            Of noise that has it beside the noise scale; else not looked at.
        """
        if self.only_scatters:
            return 1.0, noise_scale
        return noise_scale if self.multiplies else 1.0, scatter if self.scatters else 0.0

    def variance(self, values: Mapping[str, Any], error: Any, resolution: Any = 0.0) -> Any:
        """Return the squared scale of noise, numbers, arrays or tensors, which broadcast.

        Parameters
        ----------
        values : mapping of str to array-like
            ``noise_scale`` and ``scatter``, where there are such.
        error : array-like
            Known errors; 1 where none are known and the noise scale is all there is.
        resolution : float
            What is added in quadrature to a multiple: below it a residual is rounding.
        """
        multiple, scatter = self.parts(values.get("noise_scale"), values.get("scatter"))
        square = error**2
        if self.multiplies:
            square = (multiple**2 + resolution**2) * square
        return square + scatter**2 if self.scatters else square


SCALED = Noise("scaled", multiplies=True, scatters=False)
ADDITIVE = Noise("additive", multiplies=False, scatters=True)
KNOWN = Noise("known", multiplies=False, scatters=False)
AUTO = Noise("auto", multiplies=True, scatters=True)
COMMON = Noise("common", multiplies=True, scatters=False, of_features=True)

NOISES: Mapping[str, Noise] = {noise.name: noise for noise in (SCALED, ADDITIVE, KNOWN, AUTO, COMMON)}
"""The kinds by name."""
