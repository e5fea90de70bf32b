"""What the system tells of this process."""

from __future__ import annotations

from pathlib import Path

__all__ = ["status"]


def status(field: str) -> int | None:
    """Return a field of the process's memory status, in bytes."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(field)), None)
