"""What all tests share."""

import faulthandler
import gc
import os
from collections.abc import Iterator
from zlib import crc32

import pytest

# Seconds after which a test hangs: the longest takes some minutes on a busy machine.
_HANGS = 900.0
_stderr: list[int] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--part", metavar="K/N", help="run the K-th of N parts of the tests, told by their names"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the tests of one part."""
    if config.getoption("part") is None:
        return
    which, parts = map(int, config.getoption("part").split("/"))
    chosen = [crc32(item.nodeid.encode()) % parts == which - 1 for item in items]
    config.hook.pytest_deselected(items=[item for item, kept in zip(items, chosen, strict=True) if not kept])
    items[:] = [item for item, kept in zip(items, chosen, strict=True) if kept]


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
