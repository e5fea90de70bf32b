"""What a fit has found, as HTML for notebooks: read from attributes, nothing computed."""

from __future__ import annotations

from html import escape
from math import floor, isfinite, log10
from typing import Any

from ...measurements.messages import shortened

__all__ = ["fit_as_html"]

# Features and warnings that are shown; the others are counted. And how much of a name.
_FEATURES, _WARNINGS, _LONGEST = 10, 5, 60

# Beside coefficients, where a fit has them: attributes, and what `summary` calls them but for the underscore.
_OTHERS = (
    "noise_scale_",
    "scatter_",
    "nu_",
    "dispersion_",
    "overdispersion_",
    "outlier_share_",
    "outlier_factor_",
)

# scikit-learn's sheet has the colours, which are the same on dark paper; `:nth-child` outdoes stripes of notebooks.
_STYLE = """<style>
.bayes-sklearn-fit {padding: .5em; max-width: 60em; font-family: monospace;
  color: var(--sklearn-color-text, inherit); background: var(--sklearn-color-fitted-level-0, none)}
.bayes-sklearn-fit ul {margin: .2em 0 .5em; padding-left: 1.5em}
.bayes-sklearn-fit table {margin: .5em 0 0 !important; border-collapse: collapse; font-size: inherit}
.bayes-sklearn-fit table tr:nth-child(n) {background: none; color: inherit}
.bayes-sklearn-fit table tr:nth-child(n) :is(th, td) {
  padding: .1em .8em; text-align: right; color: inherit; font-weight: normal;
  border: 0; border-bottom: 1px solid var(--sklearn-color-fitted-level-2, silver)}
.bayes-sklearn-fit table tr:nth-child(n) :first-child {text-align: left; max-width: 30em; overflow-wrap: anywhere}
</style>"""


def fit_as_html(model: Any) -> str:
    """Return engine, rows, warnings and coefficients of a model; "" where it is not fitted.

    Parameters
    ----------
    model : BayesianErrorsInVariablesRegressor
    """
    fitted = vars(model).get("_fitted")
    if fitted is None:
        return ""
    n, p = fitted.n_rows, len(model.coef_)
    rows, features = f"{n:,} row{'s' * (n != 1)}", f"{p:,} feature{'s' * (p != 1)}"
    return (
        f'{_STYLE}<div class="bayes-sklearn-fit">Fitted by <b>{escape(model.inference_)}</b> inference to {rows},'
        f" with {features}. {_warnings(vars(model).get('fit_warnings_', ()))}{_table(model)}</div>"
    )


def _warnings(said: tuple[str, ...]) -> str:
    if not said:
        return "The fit warned of nothing."
    items = [escape(message) for message in said[:_WARNINGS]]
    if len(said) > _WARNINGS:
        items.append(f"{len(said) - _WARNINGS:,} more: <code>fit_warnings_</code>")
    return f"<b>The fit warned:</b><ul>{''.join(f'<li>{item}</li>' for item in items)}</ul>"


def _table(model: Any) -> str:
    """Return the posterior's means and standard deviations, as far as they are attributes."""
    kept = vars(model)
    reliability = kept.get("reliability_")
    measures = ["mean", "sd", *(["reliability"] if reliability is not None else [])]
    rows = [["", *measures]]
    if model.fit_intercept:
        rows.append(["intercept", _figure(model.intercept_), *[""] * (len(measures) - 1)])
    for j, name in enumerate(model.coef_names_[:_FEATURES]):
        mean, sd = float(model.coef_[j]), float(model.coef_std_[j])
        share = [] if reliability is None else [f"{reliability[j]:.2f}"]
        rows.append([shortened(str(name), _LONGEST), _figure(mean, sd), _figure(sd, sd), *share])
    if len(model.coef_) > _FEATURES:
        rows.append([f"{len(model.coef_) - _FEATURES:,} more: see summary()", *[""] * len(measures)])
    rows += [
        [name[:-1], _figure(kept[name]), *[""] * (len(measures) - 1)] for name in _OTHERS if kept.get(name)
    ]
    head, *body = ("".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows)
    lines = "".join(f"<tr>{row}</tr>" for row in body)
    return f"<table><thead><tr>{head.replace('td>', 'th>')}</tr></thead><tbody>{lines}</tbody></table>"


def _figure(value: float, error: float | None = None) -> str:
    """Return a number with two digits of its error, or three of its own."""
    size = abs(value) if error is None else error
    if not (isfinite(value) and isfinite(size)) or size == 0.0:
        return f"{value:.3g}"
    place, own = floor(log10(size)), floor(log10(abs(value) or size))
    decimals = (2 if error is None else 1) - place
    if decimals <= 6 and own < 7:
        return f"{value:.{max(decimals, 0)}f}"
    return f"{value:.{min(max(own + decimals, 1), 12)}e}"
