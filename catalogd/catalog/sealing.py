"""Both ends of a sealing: the short-lived process that builds a generation, and its owner.

The writer owns a `Sealing`; the child gets its orders through its standard input, and ends when
that ends, so that it never outlives the writer. It may be killed at any point.
"""

from __future__ import annotations

import logging
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path

from catalogd.settings import Settings

log = logging.getLogger(__name__)

NICENESS = 10  # everything is found without the new generation: the run comes first
_CHILD = "from catalogd.catalog.sealing import child_main; child_main()"


class Sealing:
    """A generation of one embedding space being built by a process of its own."""

    def __init__(self, catalog_folder: Path, space: str, settings: Settings) -> None:
        self.space = space
        self._process = subprocess.Popen([sys.executable, "-c", _CHILD], stdin=subprocess.PIPE)
        assert self._process.stdin is not None
        try:
            pickle.dump((catalog_folder, space, settings), self._process.stdin)
            self._process.stdin.flush()
        except BrokenPipeError:
            log.warning("the sealing process did not start: %s", space)

    def is_done(self) -> bool:
        return self._process.poll() is not None

    def wait(self) -> bool:
        """Wait for its end; returns whether it went well."""
        code = self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        if code:
            log.warning("the embedding index was not sealed (exit code %d): %s", code, self.space)
        return code == 0

    def stop(self) -> None:
        """End it now; what it built so far is swept by the next one."""
        self._process.kill()
        self.wait()


def child_main() -> None:
    """The child: read the order, seal, exit."""
    folder, space, settings = pickle.load(sys.stdin.buffer)
    threading.Thread(target=_end_with_owner, daemon=True).start()
    os.nice(NICENESS)
    from catalogd.catalog.embedding_index import seal_generation
    from catalogd.errors import CatalogdError

    try:
        seal_generation(folder, space, settings)
    except CatalogdError as error:
        sys.exit(str(error))


def _end_with_owner() -> None:
    os.read(sys.stdin.fileno(), 1)
    os._exit(1)
