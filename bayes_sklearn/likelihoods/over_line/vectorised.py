"""Graphs in PyTensor that compilers turn into vector instructions: gradients over nodes take half the time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from math import factorial
from typing import Any

import numpy as np

__all__ = ["across", "exp_graph", "held", "log_one_plus_graph", "polynomial"]


def across(vector: Any) -> Any:
    """Return PyTensor's vector as (1, n), an array of its own.

    Of a view compilers don't know that its numbers lie side by side, and use no vector instructions. What it is made
    of is found once, and not with every row of what it is broadcast to.
    """
    import pytensor.tensor as pt

    return pt.maximum(vector[None], -np.finfo(np.float64).max)


@cache
def _held() -> Any:
    import pytensor.scalar as ps
    from pytensor.tensor.elemwise import Elemwise

    class Held(ps.Composite):
        def connection_pattern(self, node: Any) -> list[list[bool]]:
            return [[False]]

    number = ps.float64()
    return Elemwise(Held([number], [ps.identity(number)], name="held"))


def held(x: Any) -> Any:
    """Return PyTensor's array without derivatives.

    Its own `disconnected_grad` goes where graphs are simplified, which nutpie does before it takes derivatives.
    """
    return _held()(x)


def exp_graph(x: Any) -> Any:
    """Return exp(x) in PyTensor by products alone, which compilers put into vector instructions: a fifth of its cost.

    To 1e-14 of what there is for x from -10 to 10, to 2e-8 from -40; no less than exp(-100).
    """
    return _by_numbers(_exp, _exp_slope)(x)


def _exp(x: Any) -> Any:
    import pytensor.scalar as ps

    least, halvings, degree = -100.0, 6, 10
    above: Any = ps.scalar_maximum(x, np.float64(least))
    small = above * np.float64(0.5**halvings)
    value = polynomial(small, [1.0 / factorial(power) for power in range(degree + 1)])
    for _ in range(halvings):
        value = value * value
    return value


def log_one_plus_graph(x: Any) -> Any:
    """Return log(1 + x) of x from 0 to 1 in PyTensor, as cheaply, to 4e-16."""
    return _by_numbers(_log_one_plus, _log_one_plus_slope)(x)


def _log_one_plus(x: Any) -> Any:
    # Twice the inverse hyperbolic tangent, about the middle of the logs.
    middle = np.sqrt(2.0)
    t = (x + np.float64(1.0 - middle)) / (x + np.float64(1.0 + middle))
    series = polynomial(t * t, [2.0 / (2 * power + 1) for power in range(10)])
    return series * t + np.float64(np.log(middle))


def _exp_slope(x: Any, value: Any) -> Any:
    return value


def _log_one_plus_slope(x: Any, value: Any) -> Any:
    import pytensor.scalar as ps

    return ps.reciprocal(x + np.float64(1.0))  # older PyTensor takes no number in front of a division


@cache
def _by_numbers(function: Callable[[Any], Any], slope: Callable[[Any, Any], Any]) -> Any:
    """Return the operation on arrays that a function of PyTensor's numbers is, with a slope of its own.

    It is compiled as it stands: of squares of squares PyTensor would make one long product.
    """
    import pytensor.scalar as ps
    from pytensor.tensor.elemwise import Elemwise

    class Numbers(ps.Composite):
        def pullback(self, inputs: Any, outputs: Any, of_outputs: Any) -> list[Any]:
            return [of_outputs[0] * slope(inputs[0], outputs[0])]

        L_op = pullback  # type: ignore[assignment]  # before PyTensor 3

    number = ps.float64()
    return Elemwise(Numbers([number], [function(number)], name=function.__name__))


def polynomial(x: Any, coefficients: Sequence[float]) -> Any:
    """Return a polynomial in x, its coefficients from the constant on."""
    total: Any = np.float64(coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        total = total * x + np.float64(coefficient)
    return total
