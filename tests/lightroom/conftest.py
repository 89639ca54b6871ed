"""What the tests of the plugin share: a served catalog, and a Lightroom that talks to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lightroom.daemon import Daemon
from tests.lightroom.sdk import Lightroom


@pytest.fixture(scope="session")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """The library of tests/query/library.py, served to all tests: one that changes it makes its own."""
    with Daemon(tmp_path_factory.mktemp("daemon")) as served:
        yield served


@pytest.fixture
def lightroom(daemon: Daemon) -> Iterator[Lightroom]:
    """Without photos; set to `daemon`."""
    with daemon.lightroom() as opened:
        yield opened
