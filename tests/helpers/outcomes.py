"""What may come of a call: an answer, or a refusal in words that name an argument. All else is a fault.

A refusal is a ValueError, a TypeError, or an error of scikit-learn's, that a line of this package or of
scikit-learn's raises on purpose (``raise``, not something from below that passes through), and whose message names
one of the arguments. A warning is one of ours: `UserWarning` or `ConvergenceWarning`.
"""

from __future__ import annotations

import linecache
import re
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NamedTuple
from unittest import mock

from sklearn.exceptions import ConvergenceWarning, DataConversionWarning, NotFittedError
from sklearn.utils._param_validation import InvalidParameterError

from bayes_sklearn.inference.nuts import engine as nuts
from bayes_sklearn.inference.nuts.sampler import SamplerOptions
from bayes_sklearn.inference.propriety import ImproperPosterior

__all__ = ["Fault", "Outcome", "Sampler", "attempt", "without_sampler"]

# An example that takes longer is a hang.
_SECONDS = 30
_ERRORS = (ValueError, TypeError, NotFittedError, InvalidParameterError, ImproperPosterior)
_WARNINGS = (UserWarning, ConvergenceWarning)
_PACKAGES = ("bayes_sklearn", "sklearn")
# scikit-learn's conventions for y of one column, and for names that come or go; its checks ask for both.
_CONVENTIONS = "A column-vector y was passed|feature names"

ARGUMENTS = (
    "X", "y", "sample_weight", "y_err", "X_err", "X_cov", "Xy_cov", "counts", "coverage", "quantiles", "n_samples",
    "return_std", "return_cov", "include_noise", "error_floor", "count_column", "y_err_column", "error_columns",
    "likelihood", "coef_prior", "intercept_prior", "noise_prior", "noise", "weight_type", "count_error",
    "truncation", "x_distribution", "x_error_distribution", "standardize", "fit_intercept", "inference",
    "draws", "chains", "nuts_kwargs", "random_state", "verbose",
    "estimator", "param_grid", "scoring", "prior", "held_out", "pit", "false_alarm_rate",
    "merge", "y_true", "y_pred", "y_std", "y_lower", "y_upper", "pit_values", "score", "coef", "intercept",
    "mean_share", "messages", "overdispersion", "as_frame", "return_X_y", "feature", "kind", "others", "features",
    "audit",
)  # fmt: skip
_NAMED = re.compile(rf"(?<![\w])({'|'.join(ARGUMENTS)})(?=$|[^\w]|__)")


class Fault(AssertionError):  # noqa: N818 - no error of the package
    """Something came of a call that may not."""


class Sampler(Exception):  # noqa: N818 - a way out
    """The sampler was called for, which takes seconds to compile."""


class Hung(BaseException):
    """A call that did not come back."""


class Outcome(NamedTuple):
    """An answer or a refusal."""

    value: Any = None
    refusal: Exception | None = None
    sampler: bool = False
    """Whether the sampler was called for."""

    @property
    def answered(self) -> bool:
        return self.refusal is None and not self.sampler


def _solve(_: Any, settings: Any) -> None:
    SamplerOptions.of(settings, 0.9)
    raise Sampler


def attempt(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Outcome:
    """Call, and return what came of it.

    Raises
    ------
    Fault
        Where it is neither an answer nor a refusal in order; for warnings from below; and for hangs.
    """
    try:
        with _own_warnings(), _limited(_SECONDS):
            return Outcome(call(*args, **kwargs))
    except Sampler:
        return Outcome(sampler=True)
    except Fault:
        raise
    except Hung:
        raise Fault(f"the call took longer than {_SECONDS} s\n{traceback.format_exc()}") from None
    except Exception as error:
        _check_refusal(error)
        return Outcome(refusal=error)


def _check_refusal(error: Exception) -> None:
    """Refuse errors that are no refusals."""
    said = f"{type(error).__name__}: {error}"
    # As `available_if` has it: a model has the method only where it can.
    if type(error) not in _ERRORS and not (type(error) is AttributeError and error.name == "partial_fit"):
        raise Fault(f"an error of this kind may not leave: {said}") from error
    frame = traceback.extract_tb(error.__traceback__)[-1]
    on_purpose = linecache.getline(frame.filename, frame.lineno or 0).lstrip().startswith("raise")
    ours = any(f"/{package}/" in frame.filename for package in _PACKAGES)
    if not (on_purpose and ours):
        raise Fault(f"leaks from {frame.filename}:{frame.lineno}: {said}") from error
    if not _NAMED.search(str(error)):
        raise Fault(f"names no argument: {said}") from error


@contextmanager
def _own_warnings() -> Iterator[None]:
    """Make faults of warnings that are not ours."""

    def show(message: Warning | str, category: type[Warning], *_: Any) -> None:
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and frame.f_globals.get("__name__") == "warnings":
            frame = frame.f_back
        module = "" if frame is None else str(frame.f_globals.get("__name__"))
        ours = module.partition(".")[0] == "bayes_sklearn" and category in _WARNINGS
        convention = module.partition(".")[0] == "sklearn" and category in (
            UserWarning,
            DataConversionWarning,
        )
        if not (ours or (convention and re.search(_CONVENTIONS, str(message)))):
            raise Fault(f"a warning from {module}: {category.__name__}: {message}")

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with mock.patch.object(warnings, "showwarning", show):
            yield


@contextmanager
def _limited(seconds: int) -> Iterator[None]:
    """Raise `Hung` where the body takes longer."""

    def hung(*_: Any) -> None:
        raise Hung

    before = signal.signal(signal.SIGALRM, hung)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def without_sampler() -> Iterator[None]:
    """Stop where a fit would go on to the sampler."""

    with mock.patch.object(nuts, "solve", _solve):
        yield
