"""The command line: parse, call, print. Heavy imports wait until a command needs them.

One module a topic; `base` holds what they share. Importing this package registers every command.
"""

from __future__ import annotations

import io
import sys

from catalogd.cli import (
    analysis,
    catalog,
    culling,
    duplicates,
    lightroom,
    models,
    people,
    photos,
    plugin,
    query,
    run,
    serve,
    setup,
    sync,
)
from catalogd.cli.base import cli

__all__ = [
    "analysis",
    "catalog",
    "cli",
    "culling",
    "duplicates",
    "lightroom",
    "main",
    "models",
    "people",
    "photos",
    "plugin",
    "query",
    "run",
    "serve",
    "setup",
    "sync",
]


def main() -> None:
    """The `catalogd` command."""
    for stream in (sys.stdout, sys.stderr):  # a terminal that is not UTF-8 shows \xNN, and no traceback
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    cli(prog_name="catalogd")
