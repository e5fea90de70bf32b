"""What the tests of the repository share."""

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _little_garbage() -> Iterator[None]:
    """Benchmarks collect garbage each time before they take time: among all that is there already, that is slow."""
    gc.freeze()
    yield
    gc.unfreeze()
