"""The verdict on stated errors: the rule, and what to say of it."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from .stated_errors import Kind, StandardizedRows

Verdict = Literal["about right", "too small", "too large", "extra-binomial variation", "extra scatter"]

__all__ = ["Verdict", "decide", "explain"]

# Rows further off than this many errors are blunders rather than chance.
_FAR_OFF = 4.0


def decide(kind: Kind, dispersion: float, p_dispersion: float, p_trend: float, rate: float) -> Verdict:
    """Return the verdict.

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
    scaled = rows.kind != "predicted" and regressor.noise == "scaled"
    absorbed = " The fit multiplies them by its noise scale, so that its predictions allow for that." * (
        scaled and hasattr(regressor, "noise_scale_")
    )
    if verdict == "about right":
        pattern = "" if rows.kind == "predicted" else ", with no pattern that speaks against them"
        return f"{seen}: they are about right{pattern}."
    if verdict == "too large":
        remedy = {
            "counts": "Are the counts larger than stated, or error_floor too large?",
            "standard_error": "Check their unit, and whether they are standard errors and not limits of intervals.",
            "predicted": "Predicted intervals are wider than they need to be.",
        }
        return f"{seen}: they are too large. {remedy[rows.kind]}{absorbed}"
    if verdict == "extra-binomial variation":
        more = "and the more so the larger the count: shares vary by more than their counts explain."
        return f"{seen}, {more}{_extra(regressor)}"
    if verdict == "extra scatter":
        added = "" if regressor.noise == "additive" else " noise='additive' estimates it."
        return (
            f"{seen}, and the more so the smaller the error: rows scatter about the line by something that the"
            f" errors leave out.{added or ' The fit allows for it by additive noise.'}"
        )
    remedy = {
        "counts": "Are the counts smaller than stated, or trials of one share not independent?",
        "standard_error": "Check their unit, what they leave out, and whether the line is curved.",
        "predicted": "Predicted intervals are too narrow.",
    }
    return f"{seen}: they are too small. {remedy[rows.kind]}{_outliers(rows, dispersion)}{absorbed}"


def _outliers(rows: StandardizedRows, dispersion: float) -> str:
    """Return a word on rows that are far off, where most of the excess comes from them."""
    off = np.abs(rows.residual) > _FAR_OFF
    if not off.any() or off.all():
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
