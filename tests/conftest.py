"""What all tests share."""

import gc

import pytest


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Garbage is not looked for among what thousands of collected tests are made of: that would take long."""
    gc.collect()
    gc.freeze()
