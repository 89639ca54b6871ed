"""`python -m tests.fuzz NAME [FOLDER] [-runs=N -max_len=N …]`: a target under libFuzzer, through atheris.

Without a folder the fuzzer begins with the good photos and metadata blocks that the tests make.
"""

from __future__ import annotations

import sys
import tempfile
import types
from pathlib import Path

import atheris

from tests.fuzz.corpus import seeds
from tests.fuzz.targets import TARGETS


def main(arguments: list[str]) -> None:
    name, *options = arguments or [""]
    if name not in TARGETS:
        raise SystemExit(
            f"usage: python -m tests.fuzz NAME [FOLDER] [-runs=N]; NAME is one of: {', '.join(TARGETS)}"
        )
    if all(option.startswith("-") for option in options):
        folder = Path(tempfile.mkdtemp(prefix="catalogd-fuzz-"))
        for number, content in enumerate(seeds(folder / "photos")):
            (folder / f"seed-{number}").write_bytes(content)
        options.append(str(folder))
    _instrument("catalogd.")
    atheris.Setup([sys.argv[0], *options], TARGETS[name])
    atheris.Fuzz()


def _instrument(prefix: str) -> None:
    """All functions of modules so named; atheris's import hook does not see an editable install."""
    for name, module in list(sys.modules.items()):
        if name.startswith(prefix):
            for value in list(vars(module).values()):
                for function in vars(value).values() if isinstance(value, type) else [value]:
                    if isinstance(function, types.FunctionType) and function.__module__ == name:
                        atheris.instrument_func(function)


main(sys.argv[1:])
