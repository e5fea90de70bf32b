"""What all tests share."""

import faulthandler
import gc
import os
from collections.abc import Iterator

import pytest

# Seconds after which a test hangs: the longest takes some minutes on a busy machine.
_HANGS = 900.0
_stderr: list[int] = []


def pytest_configure() -> None:
    """Keep a way out that no test captures."""
    _stderr.append(os.dup(2))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol() -> Iterator[None]:
    """A test that hangs says where, and ends its process, which is then named as the one that failed."""
    faulthandler.dump_traceback_later(_HANGS, exit=True, file=_stderr[0])
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Garbage is not looked for among what thousands of collected tests are made of: that would take long."""
    gc.collect()
    gc.freeze()
