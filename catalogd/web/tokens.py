"""The token that clients of the HTTP API show: a file that only its owner can read.

It is made once, by whoever needs it first, and a server notices within a second that it was replaced.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
import stat
import time
from pathlib import Path

from catalogd.errors import SettingsError
from catalogd.settings import Settings

TOKEN_BYTES = 32  # of randomness: nobody guesses one of 2^256
SHORTEST_TOKEN = 16  # characters, of one that somebody chose
LONGEST_TOKEN = 1024
_LOOK_EVERY_S = 1.0  # whether the file is another
_MAKE_ANOTHER = "`catalogd token new` makes another"


def token_path(settings: Settings) -> Path:
    return settings.http_token_file or settings.catalog / "api.token"


def read_token(file: Path) -> str:
    """Raises SettingsError when there is none, others can read it, or it is none; FileNotFoundError."""
    try:
        with file.open("rb") as stream:
            mode = stat.S_IMODE(os.fstat(stream.fileno()).st_mode)
            raw = stream.read(LONGEST_TOKEN + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise SettingsError(f"http_token_file: {file}: {error.strerror}") from None
    if mode & 0o077:
        raise SettingsError(f"http_token_file: others can read {file} (mode {mode:o}); {_MAKE_ANOTHER}")
    token = raw.decode("ascii", "replace").strip()
    if not (
        SHORTEST_TOKEN <= len(token) <= LONGEST_TOKEN
        and token.isascii()
        and token.isprintable()
        and " " not in token
    ):
        raise SettingsError(f"http_token_file: {file} holds no token; {_MAKE_ANOTHER}")
    return token


def ensure_token(file: Path) -> str:
    """The token; made when there is none, by one of those who try at the same time."""
    with contextlib.suppress(FileNotFoundError):
        return read_token(file)
    aside = _written_aside(file)
    with contextlib.suppress(FileExistsError):
        os.link(aside, file)
    aside.unlink()
    return read_token(file)


def renew_token(file: Path) -> str:
    """Another token in place of the one there is, which is worth nothing from now on."""
    _written_aside(file).replace(file)
    return read_token(file)


def _written_aside(file: Path) -> Path:
    """A new token in a file of its own beside `file`, mode 600."""
    aside = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise SettingsError(f"http_token_file: {file}: {error.strerror}") from None
    with os.fdopen(descriptor, "w") as stream:
        stream.write(secrets.token_urlsafe(TOKEN_BYTES) + "\n")
        stream.flush()
        os.fsync(descriptor)
    return aside


class Token:
    """What a server compares with. A file that is gone or unfit lets nobody in until it is mended."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._digest: bytes | None = _digest(ensure_token(file))
        self._known = _stamp(file)
        self._look_at = time.monotonic() + _LOOK_EVERY_S

    def is_right(self, shown: str) -> bool:
        """In a time that says nothing about how much of it is right."""
        self._look()
        return self._digest is not None and hmac.compare_digest(_digest(shown), self._digest)

    def _look(self) -> None:
        if time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + _LOOK_EVERY_S
        if (now := _stamp(self._file)) == self._known:
            return
        self._known = now
        try:
            self._digest = _digest(read_token(self._file))
        except (SettingsError, FileNotFoundError):
            self._digest = None


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _stamp(file: Path) -> tuple[int, ...] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size
