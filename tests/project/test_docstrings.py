"""Every public function, class and method has an example, which does what it shows."""

from __future__ import annotations

import doctest
import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import bayes_sklearn
from bayes_sklearn import datasets, displays, distributed, likelihoods, metrics, preprocessing, priors

API = Path(__file__).parents[2] / "docs" / "api"
MODULES = (bayes_sklearn, datasets, displays, distributed, likelihoods, metrics, preprocessing, priors)
# New likelihoods derive from them: what they have to define is called in the example of the class.
DERIVED_FROM = {
    "Auxiliary", "Coordinate", "FoldedLog", "FoldedOdds", "FoldedRoot", "Likelihood", "Link", "Log", "LogOdds",
    "Noise", "Observations", "SamplerCoordinate",
}  # fmt: skip


def documented() -> dict[str, Any]:
    """The functions and classes of the reference, and all that modules name as public, by their full names."""
    found = {}
    for page in API.glob("*.md"):
        module = bayes_sklearn.__name__
        for directive, name in re.findall(
            r"^\.\. (\w+):: (\S+)", page.read_text(encoding="utf-8"), re.MULTILINE
        ):
            if directive in ("currentmodule", "automodule"):
                module = name
            elif directive in ("autoclass", "autofunction"):
                owner, _, last = (
                    f"{module}.{name}".rpartition(".") if "." not in name else name.rpartition(".")
                )
                found[f"{owner}.{last}"] = getattr(importlib.import_module(owner), last)
    for public in MODULES:
        for name in public.__all__:
            value = getattr(public, name)
            if inspect.isfunction(value) or inspect.isclass(value):
                found.setdefault(f"{public.__name__}.{name}", value)
    return {f"{value.__module__}.{value.__qualname__}": value for value in found.values()}


def own(cls: type, name: str) -> list[Any]:
    """What the package's classes have by a name, the most derived first: functions, and properties."""
    ours = [vars(base)[name] for base in cls.__mro__ if name in vars(base) and is_ours(base)]
    return [inspect.unwrap(getattr(value, "fn", getattr(value, "__func__", value))) for value in ours]


def is_ours(value: Any) -> bool:
    return str(value.__module__).startswith("bayes_sklearn")


def members(cls: type) -> Iterator[tuple[str, list[Any]]]:
    """The public methods and properties of a class that the package has written."""
    names = {name for base in cls.__mro__ if is_ours(base) for name in vars(base) if name[0] != "_"}
    for name in sorted(names):
        found = own(cls, name)
        if any(inspect.isfunction(value) or isinstance(value, property) for value in found):
            yield name, found


def shown(value: Any) -> bool:
    return "\nExamples\n--------\n>>> " in inspect.cleandoc(value.__doc__ or "")


PUBLIC = documented()


def lacking() -> Iterator[str]:
    """Public names that no example is of."""
    for name, value in PUBLIC.items():
        if not shown(value):
            yield name
        for method, found in members(value) if inspect.isclass(value) else ():
            if (
                isinstance(found[-1], property)
                or any(map(shown, found))
                or in_example_of_class(value, method)
            ):
                continue
            yield f"{name}.{method}"


def in_example_of_class(cls: type, method: str) -> bool:
    """Whether a class that others derive from calls what they have to define; what has a default needs no call."""
    bases = [base for base in cls.__mro__ if base.__name__ in DERIVED_FROM and method in vars(base)]
    required = any(method in getattr(base, "__abstractmethods__", ()) for base in bases)
    return bool(bases) and (not required or any(f".{method}(" in str(base.__doc__) for base in bases))


def test_every_public_function_class_and_method_has_an_example() -> None:
    assert len(PUBLIC) > 80
    assert list(lacking()) == []


def with_examples() -> dict[str, Any]:
    """All that has an example of its own, once."""
    found = dict(PUBLIC)
    for value in PUBLIC.values():
        for _, functions in members(value) if inspect.isclass(value) else ():
            found |= {f"{each.__module__}.{each.__qualname__}": each for each in functions if shown(each)}
    special = (metrics.ProbabilisticScorer.__call__, bayes_sklearn.PredictiveDistribution.__len__)
    return found | {each.__qualname__: each for each in special}


EXAMPLES = with_examples()


def test_docstrings_say_what_arguments_are_and_what_comes_back() -> None:
    """Of those with a table of arguments: others say all in a sentence."""
    told = 0
    for name, value in EXAMPLES.items():
        text = inspect.cleandoc(value.__doc__)
        if inspect.isfunction(value) and "\nParameters\n---" in text:
            assert "\nReturns\n---" in text or text.startswith("Return "), name
            arguments = set(inspect.signature(value).parameters) - {"self", "cls"}
            assert {argument for argument in arguments if not re.search(rf"\b{argument}\b", text)} == set(), (
                name
            )
            told += 1
    assert told > 60


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_examples_give_the_output_shown(name: str, closed_figures: Callable[[], None]) -> None:
    value = EXAMPLES[name]
    test = doctest.DocTestParser().get_doctest(inspect.cleandoc(value.__doc__), {}, name, None, 0)
    assert test.examples
    report: list[str] = []
    options = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    failed, _ = doctest.DocTestRunner(optionflags=options).run(test, out=report.append)
    assert failed == 0, "".join(report)


@pytest.fixture
def closed_figures() -> Iterator[None]:
    plt = pytest.importorskip("matplotlib.pyplot")
    yield
    plt.close("all")
