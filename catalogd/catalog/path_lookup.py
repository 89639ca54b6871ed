"""The photo at a path that another program spells in its own way."""

from __future__ import annotations

import unicodedata
from typing import NamedTuple

from catalogd.catalog.store import FILE_ENTRY_PHOTO, Reading, file_key, folder_hash

_KEPT_FOLDERS = 64  # of which the names are held: who asks for many paths asks folder by folder


class Found(NamedTuple):
    """A photo at a path."""

    photo_id: int
    exact: bool  # its name is the same, but for how its accents are composed


def spellings(path: bytes) -> tuple[bytes, ...]:
    """The path as it is, and with its accents composed and decomposed; each once."""
    try:
        text = path.decode()
    except UnicodeDecodeError:
        return (path,)
    if text.isascii():
        return (path,)
    forms = (unicodedata.normalize(form, text).encode() for form in ("NFC", "NFD"))
    return tuple(dict.fromkeys((path, *forms)))


def folded_name(name: bytes) -> bytes:
    """A file name without what file systems may not tell apart: case, and how accents are composed."""
    text = name.decode("utf-8", "surrogateescape")
    folded = text.lower() if text.isascii() else unicodedata.normalize("NFC", text).casefold()
    return folded.encode("utf-8", "surrogateescape")


class PathLookup:
    """Finds photos by their paths in one transaction."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._folders: dict[bytes, dict[bytes, bytes]] = {}  # folder → folded name → entry

    def find(self, path: bytes) -> Found | None:
        """As it is spelled, then with other accents, then whatever the case of its name in its folder."""
        known = spellings(path)
        for spelled in known:
            if photo_id := self._reading.photo_at(file_key(spelled)):
                return Found(photo_id, True)
        for spelled in known:
            folder, _, name = spelled.rpartition(b"/")
            entry = self._names(folder).get(folded_name(name))
            photo_id = 0 if entry is None else int.from_bytes(entry[FILE_ENTRY_PHOTO], "big")
            if photo_id:
                return Found(photo_id, False)
        return None

    def _names(self, folder: bytes) -> dict[bytes, bytes]:
        names = self._folders.get(folder)
        if names is None:
            if len(self._folders) >= _KEPT_FOLDERS:
                self._folders.clear()
            entries = self._reading.folder("files", folder_hash(folder))
            names = self._folders[folder] = {folded_name(name): entry for name, entry in entries.items()}
        return names
