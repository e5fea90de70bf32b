"""Work in a process of its own, whose memory and imports are nobody else's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

__all__ = ["import_seconds", "run_probe"]

_ROOT = Path(__file__).resolve().parents[1]
_TIME_IMPORT = "from time import perf_counter as t; start = t(); import {}; print(t() - start)"


def run_probe(name: str, *arguments: object, limit: float | None = None) -> Any:
    """Run a module of this package as a program; return the JSON that it prints.

    Parameters
    ----------
    name : str
        The module: ``memory_probe``, ``pymc_probe``.
    *arguments : object
        Of its command line.
    limit : float, optional
        Seconds after which the process, with its own children, is stopped.

    Raises
    ------
    TimeoutError
        Past the limit.
    RuntimeError
        Where the program fails, with what it wrote to its standard error.
    """
    command = ["-m", f"{__package__}.{name}", *map(str, arguments)]
    return json.loads(_output(command, limit))


def import_seconds(module: str) -> float:
    """Return the seconds that importing a module takes in a new interpreter."""
    return float(_output(["-c", _TIME_IMPORT.format(module)], None))


def _output(arguments: list[str], limit: float | None) -> str:
    """Return the last line that Python writes."""
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=_ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        output, error = process.communicate(timeout=limit)
    except BaseException as stopped:
        _stop(process)
        if isinstance(stopped, subprocess.TimeoutExpired):
            raise TimeoutError(f"stopped after {limit:g} s") from None
        raise
    if process.returncode != 0:
        raise RuntimeError(f"python {' '.join(arguments)} failed:\n{error.strip()}")
    return output.strip().splitlines()[-1]


def _stop(process: subprocess.Popen[str]) -> None:
    """End a process and the workers that it started."""
    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.communicate()
