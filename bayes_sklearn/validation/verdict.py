"""The verdict on stated errors: the rule, and what to say of it.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, cast

import numpy as np

from .patterns import CORRELATED, CURVE, MEASURED, UNEVEN, Pattern
from .standardized_rows import StandardizedRows
from .stated_errors import Kind

__all__ = ["Verdict", "decide", "explain", "levels", "multiplies_errors"]

Verdict = Literal[
    "about right",
    "too small",
    "too large",
    "extra-binomial variation",
    "extra-Poisson variation",
    "extra scatter",
    "errors from measured values",
    "missed curve",
    "correlated rows",
    "uneven noise",
]

# What errors leave out that depends on how large they are, by what states them.
_EXTRA: dict[str, Verdict] = {
    "counts": "extra-binomial variation",
    "events": "extra-Poisson variation",
    "standard_error": "extra scatter",
}


def levels(kind: Kind, patterns: Mapping[str, Pattern], rate: float) -> dict[str, float]:
    """Return what of the rate of false alarms each test has, by (60)."""
    stated = () if kind == "fitted" else ("dispersion", "trend")
    tests = [*stated, *patterns]
    shares = {"dispersion": 4.0, "trend": 2.0, MEASURED: 1.0, CURVE: 1.0, CORRELATED: 1.0, UNEVEN: 1.0}
    return {name: rate * shares[name] / sum(shares[test] for test in tests) for name in tests}


def decide(
    kind: Kind,
    dispersion: float,
    p_dispersion: float,
    p_trend: float,
    patterns: Mapping[str, Pattern],
    rate: float,
) -> tuple[Verdict, list[str]]:
    """Return the verdict, by (60), and the names of all patterns that were found.

    Parameters
    ----------
    kind : {"counts", "events", "standard_error", "predicted", "fitted"}
        What states the errors.
    dispersion : float
    p_dispersion, p_trend : float
        Probability of a dispersion as far from 1, and of a trend as strong, where the stated errors are right.
    patterns : mapping of str to Pattern
    rate : float
        Of false alarms.
    """
    level = levels(kind, patterns, rate)
    found = [name for name, pattern in patterns.items() if pattern.p < level[name]]
    first = [name for name in (MEASURED, CURVE) if name in found]
    if first:
        # Each may look like the other.
        return cast("Verdict", min(first, key=lambda name: patterns[name].p)), found
    if CORRELATED in found:
        return "correlated rows", found
    if kind in _EXTRA and p_trend < level["trend"] and dispersion > 1.0:
        return _EXTRA[kind], found
    if UNEVEN in found:
        return "uneven noise", found
    if kind == "fitted" or p_dispersion >= level["dispersion"]:
        return "about right", found
    return ("too small" if dispersion > 1.0 else "too large"), found


def explain(
    verdict: Verdict,
    rows: StandardizedRows,
    regressor: Any,
    dispersion: float,
    interval: tuple[float, float],
    patterns: Mapping[str, Pattern],
    found: list[str],
) -> str:
    """Return the verdict in a few sentences: what was seen, what it means, what to do."""
    factor, lower, upper = np.sqrt([dispersion, *interval])
    told = "the predicted standard deviations" if rows.kind == "predicted" else "the stated errors"
    seen = (
        f"Rows lie {factor:.2f} times as far from the line as {told} let one expect (95% interval {lower:.2f} to"
        f" {upper:.2f})"
    )
    others = "".join(f" Also seen: {name}." for name in found if name != verdict)
    if rows.line is not None and rows.line.groups is not None and CORRELATED not in patterns:
        others += " Whether rows of a group are correlated can't be tested: there are too few groups or rows."
    if verdict in patterns:
        size = "" if rows.kind == "fitted" else f" {seen}."
        return f"{_of_pattern(verdict, patterns[verdict], rows, regressor)}{size}{others}"
    if rows.kind == "fitted":
        return (
            f"No errors are stated. Rows lie about the line with no pattern that speaks against it.{others}"
        )
    return _of_size(verdict, rows, regressor, dispersion, seen) + others


def _of_size(verdict: Verdict, rows: StandardizedRows, regressor: Any, dispersion: float, seen: str) -> str:
    """Return what to say of errors' size, or of how it varies with the count or the error."""
    multiplied = rows.kind != "predicted" and multiplies_errors(regressor)
    absorbed = (
        " The fit multiplies them by its noise scale, so that its predictions allow for that." * multiplied
    )
    features = _features(rows, verdict)
    if verdict == "about right":
        pattern = "" if rows.kind == "predicted" else ", with no pattern that speaks against them"
        return f"{seen}: they are about right{pattern}.{features}"
    if verdict == "too large":
        remedy = {
            "counts": "Are the counts larger than stated, or error_floor too large?",
            "events": "Do events come more regularly than by chance, or were counts averaged or capped?",
            "standard_error": "Check their unit, and whether they are standard errors and not limits of intervals.",
            "predicted": "Predicted intervals are wider than they need to be.",
        }
        return f"{seen}: they are too large. {remedy[rows.kind]}{features}{absorbed}"
    if verdict == "extra-binomial variation":
        more = "and the more so the larger the count: shares vary by more than their counts explain."
        return f"{seen}, {more}{_extra(regressor)}"
    if verdict == "extra-Poisson variation":
        more = "and the more so the more events are expected: counts vary by more than chance explains."
        return f"{seen}, {more}{_extra_of_events(regressor)}"
    if verdict == "extra scatter":
        noise, added = regressor._fitted.noise_model.noise, " noise='auto' estimates it."
        if noise.scatters:
            added = f" The fit allows for it by {'its scatter' if noise.multiplies else 'additive noise'}."
        return (
            f"{seen}, and the more so the smaller the error: rows scatter about the line by something that the"
            f" errors leave out.{features}{added}"
        )
    remedy = {
        "counts": "Are the counts smaller than stated, or trials of one share not independent?",
        "events": f"Do events come in clusters, or is something missing?{_extra_of_events(regressor)}",
        "standard_error": "Check their unit, what they leave out, and whether the line is curved.",
        "predicted": "Predicted intervals are too narrow.",
    }
    return f"{seen}: they are too small. {remedy[rows.kind]}{features}{_outliers(rows, dispersion)}{absorbed}"


def multiplies_errors(regressor: Any) -> bool:
    """Return whether a fitted model multiplies stated errors by a noise scale that it found."""
    return hasattr(regressor, "noise_scale_") and regressor._fitted.noise_model.noise.multiplies


def _of_pattern(name: str, pattern: Pattern, rows: StandardizedRows, regressor: Any) -> str:
    """Return what a pattern is, how strong, and what to do about it."""
    if name == MEASURED:
        return (
            "The stated errors go with the noise of their own rows (correlation"
            f" {pattern.strength:.2f}): they were computed from the measured values, as the square root of a count or"
            " a per cent of the reading is. Rows that came out low weigh too much, and the line is biased. Compute"
            " errors from what predict gives instead, and fit again, twice or so; of shares, give the counts"
            " (count_column)."
        )
    if name == CURVE:
        remedy = "PolynomialFeatures or SplineTransformer in front give the line bends; or take logarithms."
        if not regressor._fitted.likelihood.link.is_identity:
            remedy = "PolynomialFeatures or SplineTransformer in front give the line bends."
        elif rows.counts is not None:
            remedy += (
                " Shares near 0 or 1 bend the line by themselves: likelihood='binomial' or 'beta_binomial'."
            )
        if rows.feature_error.any():
            remedy += " True features that are not normal bend it, too: x_distribution='mixture'."
        return (
            f"The line misses a curve along {_quoted(pattern)}, {pattern.strength:.0%} of the variance about it."
            f" Larger errors don't mend that. {remedy}"
        )
    if name == CORRELATED:
        effect = pattern.design_effect or 1.0
        return (
            f"Rows of a group are correlated by {pattern.strength:.2f}: of what they have in common they tell"
            f" {effect:.1f} times less than as many independent rows (design effect), and its standard errors are"
            f" {np.sqrt(effect):.1f} times too small. Name the column of X that holds the groups in group_column, and"
            " leave out whole groups in cross-validation (GroupKFold)."
        )
    ratio, direction = pattern.strength, "grows"
    if ratio < 1.0:
        ratio, direction = 1.0 / ratio, "falls"
    beyond = "" if rows.kind == "fitted" else ", beyond what the stated errors say"
    remedy = (
        "Check what the errors leave out"
        if rows.kind != "fitted"
        else "State it (y_err), or fit the logarithm of y"
    )
    return (
        f"The noise {direction} along {_quoted(pattern)}{beyond}: it is {ratio:.1f} times as large in the third of"
        " the rows at one end as in that at the other, so that intervals are too narrow there and too wide elsewhere."
        f" {remedy}."
    )


def _quoted(pattern: Pattern) -> str:
    return "the prediction" if pattern.along == "prediction" else repr(pattern.along)


def _features(rows: StandardizedRows, verdict: Verdict) -> str:
    """Return a word on the errors of features, which rows tell from those of the target by their sum alone."""
    # A part of the variance less than this could be off by half without being seen.
    seen = 0.1
    if not rows.feature_error.any():
        return ""
    part = np.square(rows.feature_error)
    share = float(np.average(part / (part + np.square(rows.stated)), weights=rows.frequency))
    if verdict != "about right":
        return f" Errors of features are {share:.0%} of the variance expected: it may be they that are off."
    if share > seen:
        return ""
    return f" Errors of features are {share:.0%} of the variance expected: of their size this says little."


def _outliers(rows: StandardizedRows, dispersion: float) -> str:
    """Return a word on rows that are far off, where most of the excess comes from them."""
    # Rows further off than this many errors are blunders rather than chance.
    far_off = 4.0
    off = np.abs(rows.residual) > far_off
    if not off.any() or off.all() or np.isfinite(rows.tails.nu):
        return ""
    rest = float(
        np.average(
            np.square(rows.residual[~off]), weights=None if rows.frequency is None else rows.frequency[~off]
        )
    )
    if rest - 1.0 > 0.5 * (dispersion - 1.0):
        return ""
    lie = "1 row lies" if off.sum() == 1 else f"{off.sum()} rows lie"
    of_features = " or, of readings of features, x_error_distribution='outliers'" * bool(
        rows.feature_error.any()
    )
    return (
        f" {lie} more than {far_off:g} errors off; without them the dispersion is {rest:.2f}. If they are blunders,"
        f" use likelihood='student_t'{of_features}."
    )


def _extra_of_events(regressor: Any) -> str:
    """Return what the fit does about extra-Poisson variation, or what to do."""
    dispersion = getattr(regressor, "dispersion_", 0.0)
    if dispersion > 0.0:
        return f" The fit allows for it: by chance aside rates vary by {np.sqrt(dispersion):.0%}."
    return " The fit does not allow for it: use likelihood='negative_binomial'."


def _extra(regressor: Any) -> str:
    """Return what the fit does about extra-binomial variation, or what to do."""
    correlation = getattr(regressor, "dispersion_", getattr(regressor, "overdispersion_", 0.0))
    if correlation > 0.0:
        return f" The fit allows for it: it takes the trials behind one share to be correlated by {correlation:.3g}."
    if regressor._fitted.noise_model.noise.only_scatters and hasattr(regressor, "noise_scale_"):
        return " The fit allows for it by additive noise."
    return (
        " The fit does not allow for it: use likelihood='beta_binomial', or count_error='fitted' with"
        " noise='scaled'."
    )
