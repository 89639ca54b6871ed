"""A path that a client names: the file of a library that it means, or a refusal.

What a client writes is text and is taken for nothing but a path: `%2e` is three characters, `..` is refused
wherever it stands. The libraries are folders with their symbolic links resolved, as a run has them, and
what is inside is decided of the path with *its* links resolved, so that no link leads out of a library.
The answer holds for the moment of asking: who opens the file later must bear that it is another one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from catalogd.catalog.path_lookup import spellings
from catalogd.errors import OutsideError

LONGEST_PATH_BYTES = 4096  # PATH_MAX on Linux; macOS has 1024
_SHOWN_BYTE = re.compile(rb"\\x([89a-f][0-9a-f])")  # as `display_path` shows a byte that is no UTF-8
_CONTROL = re.compile("[\x00-\x1f\x7f]")


def inside(text: str, roots: Sequence[bytes], follow_symlinks: bool = False) -> bytes:
    """The path that `text` names, without symbolic links, in one of the `roots` (real paths of folders).

    Accents may be composed in either way, and bytes that are no UTF-8 be spelled as `\\xNN`, where the disk
    has such a file; there need not be one. With `follow_symlinks` links below a root may lead anywhere, as
    in a run with that setting, and stay in the answer. Raises OutsideError.
    """
    path = _on_disk(_encoded(text))
    found = _by_links(path, roots) if follow_symlinks else _resolved(path, roots)
    if found is None:
        raise OutsideError(f"{text!r} is in none of the libraries of the run")
    return found


def _encoded(text: str) -> bytes:
    """The bytes of an absolute path without `..`, `.` and double slashes."""
    if _CONTROL.search(text):
        raise OutsideError(f"{text!r} holds a control character: no photo is named by such a path here")
    try:
        path = os.fsencode(text)
    except UnicodeEncodeError:
        raise OutsideError(f"{text!r} is no text that a path could be") from None
    if not path.startswith(b"/"):
        raise OutsideError(f"{text!r} is no absolute path")
    if len(path) > LONGEST_PATH_BYTES:
        raise OutsideError(f"{text[:40]!r}… is longer than any path")
    parts = [part for part in path.split(b"/") if part not in (b"", b".")]
    if b".." in parts:
        raise OutsideError(f"{text!r} leads upwards (..): name the folder itself")
    return b"/" + b"/".join(parts)


def _on_disk(path: bytes) -> bytes:
    """The spelling for which there is a file; without one, as it was written."""
    raw = _SHOWN_BYTE.sub(lambda match: bytes([int(match[1], 16)]), path)
    return next((one for one in (*spellings(path), raw) if os.path.lexists(one)), path)


def _resolved(path: bytes, roots: Sequence[bytes]) -> bytes | None:
    real = os.path.realpath(path)
    return real if any(_is_within(real, root) for root in roots) else None


def _by_links(path: bytes, roots: Sequence[bytes]) -> bytes | None:
    """The path as written below the first of its folders that is one of the roots."""
    for end in [*(i for i, byte in enumerate(path) if byte == ord("/")), len(path)]:
        real = os.path.realpath(path[:end] or b"/")
        for root in roots:
            if _is_within(real, root):
                return real.rstrip(b"/") + path[end:]
    return None


def _is_within(path: bytes, folder: bytes) -> bool:
    return path == folder or path.startswith(folder.rstrip(b"/") + b"/")
