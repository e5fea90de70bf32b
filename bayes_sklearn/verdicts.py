"""The verdict on stated errors: the rule, and what to say of it.

Equations (n) are those of ``docs/maths.md``.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from .stated_errors import Kind, StandardizedRows

Verdict = Literal["about right", "too small", "too large", "extra-binomial variation", "extra scatter"]

__all__ = ["Verdict", "decide", "explain", "multiplies_errors"]

# Rows further off than this many errors are blunders rather than chance.
_FAR_OFF = 4.0
# A part of the variance less than this could be off by half without being seen.
_SEEN = 0.1


def decide(kind: Kind, dispersion: float, p_dispersion: float, p_trend: float, rate: float) -> Verdict:
    """Return the verdict, by (60).

    Parameters
    ----------
    kind : {"counts", "standard_error", "predicted"}
        What states the errors.
    dispersion : float
    p_dispersion, p_trend : float
        Probability of a dispersion as far from 1, and of a trend as strong, where the stated errors are right.
    rate : float
        Of false alarms; half of it for either test.
    """
    if p_trend < 0.5 * rate and dispersion > 1.0 and kind != "predicted":
        return "extra-binomial variation" if kind == "counts" else "extra scatter"
    if p_dispersion >= 0.5 * rate:
        return "about right"
    return "too small" if dispersion > 1.0 else "too large"


def explain(
    verdict: Verdict, rows: StandardizedRows, regressor: Any, dispersion: float, interval: tuple[float, float]
) -> str:
    """Return the verdict in a few sentences: what was seen, what it means, what to do."""
    factor, lower, upper = np.sqrt([dispersion, *interval])
    told = "the predicted standard deviations" if rows.kind == "predicted" else "the stated errors"
    seen = (
        f"Rows lie {factor:.2f} times as far from the line as {told} let one expect (95% interval {lower:.2f} to"
        f" {upper:.2f})"
    )
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
            "standard_error": "Check their unit, and whether they are standard errors and not limits of intervals.",
            "predicted": "Predicted intervals are wider than they need to be.",
        }
        return f"{seen}: they are too large. {remedy[rows.kind]}{features}{absorbed}"
    if verdict == "extra-binomial variation":
        more = "and the more so the larger the count: shares vary by more than their counts explain."
        return f"{seen}, {more}{_extra(regressor)}"
    if verdict == "extra scatter":
        noise, added = regressor._noise_model.noise, " noise='auto' estimates it."
        if noise in ("additive", "auto"):
            added = f" The fit allows for it by {'additive noise' if noise == 'additive' else 'its scatter'}."
        return (
            f"{seen}, and the more so the smaller the error: rows scatter about the line by something that the"
            f" errors leave out.{features}{added}"
        )
    remedy = {
        "counts": "Are the counts smaller than stated, or trials of one share not independent?",
        "standard_error": "Check their unit, what they leave out, and whether the line is curved.",
        "predicted": "Predicted intervals are too narrow.",
    }
    return f"{seen}: they are too small. {remedy[rows.kind]}{features}{_outliers(rows, dispersion)}{absorbed}"


def multiplies_errors(regressor: Any) -> bool:
    """Return whether a fitted model multiplies stated errors by a noise scale that it found."""
    return hasattr(regressor, "noise_scale_") and regressor._noise_model.noise in ("scaled", "auto")


def _features(rows: StandardizedRows, verdict: Verdict) -> str:
    """Return a word on the errors of features, which rows tell from those of the target by their sum alone."""
    if not rows.feature_error.any():
        return ""
    part = np.square(rows.feature_error)
    share = float(np.average(part / (part + np.square(rows.stated)), weights=rows.frequency))
    if verdict != "about right":
        return f" Errors of features are {share:.0%} of the variance expected: it may be they that are off."
    if share > _SEEN:
        return ""
    return f" Errors of features are {share:.0%} of the variance expected: of their size this says little."


def _outliers(rows: StandardizedRows, dispersion: float) -> str:
    """Return a word on rows that are far off, where most of the excess comes from them."""
    off = np.abs(rows.residual) > _FAR_OFF
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
    return (
        f" {lie} more than {_FAR_OFF:g} errors off; without them the dispersion is {rest:.2f}. If they are blunders,"
        " use likelihood='student_t'."
    )


def _extra(regressor: Any) -> str:
    """Return what the fit does about extra-binomial variation, or what to do."""
    correlation = getattr(regressor, "dispersion_", getattr(regressor, "overdispersion_", 0.0))
    if correlation > 0.0:
        return f" The fit allows for it: it takes the trials behind one share to be correlated by {correlation:.3g}."
    if regressor.noise == "additive" and hasattr(regressor, "noise_scale_"):
        return " The fit allows for it by additive noise."
    return (
        " The fit does not allow for it: use likelihood='beta_binomial', or count_error='fitted' with"
        " noise='scaled'."
    )
