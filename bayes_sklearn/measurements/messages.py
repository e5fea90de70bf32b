"""What messages show of what the user gave, and warnings and errors that many places have in common."""

from __future__ import annotations

import importlib.util
import re
import reprlib
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from difflib import get_close_matches
from functools import wraps
from inspect import signature
from typing import Any, TypeVar, cast

import numpy as np

__all__ = [
    "brief",
    "check_installed",
    "deprecated_argument",
    "first_offender",
    "hinting",
    "is_installed",
    "remembered",
    "shortened",
    "shown",
    "warn",
]

LONGEST = 400

# Of one value within a message.
_VALUE = 80

_repr = reprlib.Repr()

_repr.maxother = _repr.maxstring = _VALUE

_repr.maxlist = _repr.maxtuple = _repr.maxdict = _repr.maxset = 4

_repr.maxlevel = 2


def shown(value: object) -> str:
    """Return a value's repr on one line, its middle left out where it is long."""
    try:
        said = str(value.tolist()) if isinstance(value, np.ndarray) and value.size <= 4 else _repr.repr(value)
    except Exception:  # an object whose repr fails
        said = f"<{type(value).__name__}>"
    return shortened(" ".join(said.split()), _VALUE)


def shortened(text: str, longest: int = LONGEST) -> str:
    """Return a text, its middle left out where it is longer."""
    if len(text) <= longest:
        return text
    end = longest // 3
    return f"{text[: longest - end - 5]} ... {text[len(text) - end :]}"


def first_offender(values: Any) -> str:
    """Say which of some values, and where, is the first that is no real number; "" where none is found."""
    if np.ma.is_masked(values):
        masked = np.ma.getmaskarray(values)
        return f"row {int(np.argwhere(masked)[0][0])} is masked" if masked.ndim else "it is masked"
    try:
        array = np.asarray(values)
    except Exception:
        return "its rows differ in length"
    if array.dtype.kind in "mM":
        return f"got dates or times ({array.dtype})"
    if array.dtype.kind == "c":
        return "got complex numbers"
    for place, value in enumerate(array.ravel()[:1_000_000] if array.dtype.kind in "OSUV" else ()):
        row = place // max(array[0].size, 1) if array.ndim > 1 else place
        if isinstance(value, str):
            text = shown(str(value))  # NumPy's own kind has another repr
            return f"got the text {text} in row {row}" if array.ndim else f"got the text {text}"
        try:
            float(value)
        except Exception:
            return f"got {shown(value)} in row {row}" if array.ndim else f"got {shown(value)}"
    return ""


@contextmanager
def brief() -> Iterator[None]:
    """Shorten messages of errors that quote more than anyone reads."""
    try:
        yield
    except (TypeError, ValueError) as error:
        said = str(error)
        if len(said) <= LONGEST:
            raise
        try:
            again = type(error)(shortened(said))
        except Exception:  # a kind of error that takes more than a text
            raise error from None
        raise again from error


_remembered: ContextVar[list[str] | None] = ContextVar("_remembered", default=None)


@contextmanager
def remembered() -> Iterator[list[str]]:
    """Collect what the body warns of, whether a filter lets it be heard or not; bodies within it keep theirs."""
    found: list[str] = []
    token = _remembered.set(found)
    try:
        yield found
    finally:
        with suppress(ValueError):  # an interrupted body may end with its garbage, in another thread
            _remembered.reset(token)


def warn(message: str | Warning, category: type[Warning] = UserWarning) -> None:
    """Warn, naming the line that called this package, be it through scikit-learn or not."""
    if (found := _remembered.get()) is not None:
        found.append(str(message))
    level, frame = 1, sys._getframe()
    passed = (__name__.partition(".")[0], "sklearn", "joblib")
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in passed:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


def is_installed(package: str) -> bool:
    """Return whether a package can be imported, without doing so."""
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return package in sys.modules and sys.modules[package] is not None


def check_installed(what: str, *packages: str) -> None:
    """Refuse what needs packages that are not installed.

    Raises
    ------
    ImportError
        Naming them, and the command.
    """
    missing = [package for package in packages if not is_installed(package)]
    if missing:
        names = " ".join(f'"{name}[pymc]"' if name == "nutpie" else name for name in missing)
        raise ImportError(
            f"{what} needs {' and '.join(missing)}, not installed here: pip install {names}", name=missing[0]
        )


def deprecated_argument(old: str, given: Any, new: str, value: Any, *, removed: str) -> Any:
    """Return an argument's value where it may be given by a name that it had before.

    A name that changes is taken for at least one minor version more, with a FutureWarning. None is not given.

    Parameters
    ----------
    old, new : str
        The names.
    given, value : object
        What came by either.
    removed : str
        The version in which the old one goes.

    Raises
    ------
    TypeError
        Where both are given.

    Warns
    -----
    FutureWarning
        Where the old one is.
    """
    if given is None:
        return value
    if value is not None:
        raise TypeError(f"{old} is the former name of {new}: give {new} alone.")
    warn(f"{old} is called {new} now: the former name goes in version {removed}.", FutureWarning)
    return given


_Function = TypeVar("_Function", bound=Callable[..., Any])

# What is meant by names, in their plain form, that are not near the right one: the first that there is.
_MEANT = {
    "weight": ("sample_weight", "counts"),
    "w": ("sample_weight", "counts"),
    "count": ("sample_weight",),
    "trial": ("sample_weight", "counts"),
    "n": ("sample_weight", "counts"),
    "sampleweight": ("counts",),
    "err": ("y_err",),
    "dy": ("y_err",),
    "dx": ("X_err",),
    "group": ("group_column",),
}


def hinting(function: _Function) -> _Function:
    """Say, where a call gives an argument that there is not, which one may have been meant.

    Python's own error names what was given alone. It stands below other decorators: what is raised within is left.
    """

    @wraps(function)
    def call(*arguments: Any, **keywords: Any) -> Any:
        try:
            return function(*arguments, **keywords)
        except TypeError as error:
            hint = _hint(function, arguments, keywords)
            if hint is None or error.__traceback__ is None or error.__traceback__.tb_next is not None:
                raise
            raise TypeError(hint) from None

    return cast("_Function", call)


def _hint(function: Callable[..., Any], arguments: tuple[Any, ...], keywords: dict[str, Any]) -> str | None:
    """Return what to say of an argument that a function does not take; None where it takes all of them."""
    taken = [name for name in signature(function).parameters if name not in ("self", "cls")]
    name = next((name for name in keywords if name not in taken), None)
    if name is None:
        return None
    of_class = getattr(arguments[0], "_get_param_names", None) if arguments else None
    parameters = of_class() if of_class is not None and "self" in signature(function).parameters else []
    names = {_plain(one): one for one in [*parameters, *reversed(taken)]}
    near = get_close_matches(_plain(name), names, n=1, cutoff=0.7)
    candidates = [*_MEANT.get(_plain(name), ()), *(names[one] for one in near)]
    meant = next((one for one in candidates if one in taken or one in parameters), None)
    said = f"{shown(name)[1:-1]} is not an argument of {function.__name__}"
    if meant is None:
        return shortened(f"{said}, which takes {', '.join(taken)}.")
    if meant not in taken:
        return f"{said}: did you mean {type(arguments[0]).__name__}({meant}=...), a parameter of the model?"
    return f"{said}: did you mean {meant}{' (weight_type says what it is)' * (meant == 'sample_weight')}?"


def _plain(name: str) -> str:
    """Return a name without what is often written in another way."""
    return re.sub(r"(error|std|sigma|sd|se)$", "err", name.lower().replace("_", "").rstrip("s"))
