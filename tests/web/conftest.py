from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.web.library import Library, opened


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """For tests that change nothing, or nothing that another test looks at."""
    with opened(tmp_path_factory.mktemp("library")) as found:
        yield found


@pytest.fixture
def own_library(tmp_path: Path) -> Iterator[Library]:
    """For one test alone."""
    with opened(tmp_path) as found:
        yield found
