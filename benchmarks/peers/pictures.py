"""The pictures of the documentation: times, accuracy against time, coverage, bias of slopes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from .fits import COVERAGE
from .records import Record
from .registry import PEERS
from .tasks import TASKS

__all__ = ["PICTURES", "draw"]

PICTURES = ("times.svg", "accuracy.svg", "coverage.svg", "slopes.svg")

# The package in one colour; families of peers in others, told apart by their markers.
_LOOKS = {
    "bayes_sklearn": ("C3", "o"),
    "bayes_sklearn, binomial": ("C3", "s"),
    "bayes_sklearn, beta-binomial": ("C3", "^"),
    "LinearRegression": ("C0", "o"),
    "Ridge": ("C0", "s"),
    "BayesianRidge": ("C0", "^"),
    "ARDRegression": ("C0", "v"),
    "GaussianProcessRegressor": ("C0", "D"),
    "statsmodels WLS": ("C2", "o"),
    "statsmodels GLM": ("C2", "s"),
    "PyMC": ("C1", "o"),
    "nutpie": ("C1", "s"),
    "Bambi": ("C1", "^"),
    "numpyro": ("C1", "v"),
    "odrpack": ("C4", "o"),
    "BCES": ("C4", "s"),
    "PyMC, latent x": ("C1", "D"),
}


def draw(records: Sequence[Record], folder: Path) -> None:
    """Draw all pictures of a run into a folder."""
    import matplotlib as mpl

    mpl.use("agg")
    with mpl.rc_context({"svg.hashsalt": "peers", "font.size": 9}):
        for name, draw_one in zip(PICTURES, (_times, _accuracy, _coverage, _slopes), strict=True):
            draw_one(records, folder / name)


def _times(records: Sequence[Record], path: Path) -> None:
    """Draw seconds of later fits against rows."""
    with _figure(path, 2) as axes:
        for axis, series, title in (
            (axes[0], "targets", "Standard errors of y, 10 features"),
            (axes[1], "errors in x", "Standard errors of x and y, 1 feature"),
        ):
            axis.set(xscale="log", yscale="log", title=title, xlabel="rows", ylabel="seconds of a later fit")
            of_series = [record for record in records if TASKS[record.task].series == series]
            _lines(axis, of_series, lambda record: (TASKS[record.task].rows, record.warm))


def _accuracy(records: Sequence[Record], path: Path) -> None:
    """Draw root mean square errors to the truth against seconds of later fits."""
    with _figure(path, 3) as axes:
        for axis, task, title in (
            (axes[0], "phones", "Phones"),
            (axes[1], "targets n=1000", "Standard errors of y, 1,000 rows"),
            (axes[2], "errors in x, reliability 0.5", "Half of x's variance is error"),
        ):
            axis.set(
                xscale="log",
                yscale="log",
                title=title,
                xlabel="seconds of a later fit",
                ylabel="RMSE to the truth",
            )
            of_task = [record for record in records if record.task == task]
            _lines(axis, of_task, lambda record: (record.warm, record.rmse_truth))
            _plain_ticks(axis)


def _coverage(records: Sequence[Record], path: Path) -> None:
    """Draw coverage of 90% intervals by tenths of the noise."""
    with _figure(path, 3) as axes:
        for axis, task, title, label in (
            (axes[0], "phones", "Phones", "tenths of rows, most messages first"),
            (axes[1], "targets n=1000", "Errors, scaled", "tenths of rows, least error first"),
            (axes[2], "targets with scatter", "Errors and scatter", "tenths of rows, least error first"),
        ):
            axis.set(
                title=title,
                xlabel=label,
                ylabel="new measurements in their 90% intervals",
                ylim=(-0.03, 1.03),
            )
            axis.set_xticks(range(1, 11))
            axis.axhline(COVERAGE, color="black", lw=0.8, ls="--")
            for record in records:
                if record.task == task and record.deciles:
                    _points(axis, record.peer, range(1, 11), record.deciles)


def _slopes(records: Sequence[Record], path: Path) -> None:
    """Draw the bias of slopes against reliability, with two standard errors."""
    with _figure(path, 2) as axes:
        for axis, noise, title in (
            (axes[0], "scaled", "Noise of known errors"),
            (axes[1], "additive", "Scatter beside the errors, and an exact feature"),
        ):
            axis.set(title=title, xlabel="reliability of x", ylabel="mean error of a slope of 1")
            axis.axhline(0.0, color="black", lw=0.8, ls="--")
            of_noise = [
                record
                for record in records
                if TASKS[record.task].repeats > 1
                and TASKS[record.task].noise == noise
                and record.bias_error is not None
            ]
            for place, peer in enumerate(peers := _in_order(of_noise)):
                own = [record for record in of_noise if record.peer == peer]
                # Side by side, so that bars can be told apart.
                shift = 0.006 * (place - (len(peers) - 1) / 2.0)
                x = [TASKS[record.task].reliability + shift for record in own]
                bars = [2.0 * (record.bias_error or 0.0) for record in own]
                color, marker = _LOOKS[peer]
                axis.errorbar(
                    x, [record.bias for record in own], bars, color=color, marker=marker, lw=0.8, label=peer
                )


def _lines(axis: Any, records: Sequence[Record], of: Callable[[Record], tuple[Any, Any]]) -> None:
    """Draw a line a peer through its points."""
    for peer in _in_order(records):
        found = [of(record) for record in records if record.peer == peer]
        known = [point for point in found if None not in point]
        if known:
            _points(axis, peer, *zip(*known, strict=True))


def _points(axis: Any, peer: str, x: Sequence[float], y: Sequence[float]) -> None:
    color, marker = _LOOKS[peer]
    front = 3 if peer.startswith("bayes_sklearn") else 2
    axis.plot(x, y, color=color, marker=marker, ms=5, lw=0.8, label=peer, zorder=front, clip_on=False)


def _in_order(records: Sequence[Record]) -> list[str]:
    there = {record.peer for record in records}
    return [peer for peer in PEERS if peer in there]


def _plain_ticks(axis: Any) -> None:
    """Write the few ticks of a short logarithmic axis as plain numbers."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.yaxis.set_minor_formatter(NullFormatter())


@contextmanager
def _figure(path: Path, columns: int) -> Iterator[Any]:
    """Give axes beside each other, with one legend below, and write them."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, columns, figsize=(11, 5), layout="constrained")
    yield np.atleast_1d(axes)
    named: dict[str, Any] = {}
    for axis in axes:
        axis.grid(alpha=0.3)
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            named.setdefault(label, handle)
    order = [peer for peer in PEERS if peer in named]
    figure.legend([named[peer] for peer in order], order, loc="outside lower center", ncols=5, frameon=False)
    # Without the date, the same figures make the same file.
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
