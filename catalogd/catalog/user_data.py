"""What people told catalogd themselves: kept apart from all that models and files say, and outranking it.

One small LMDB environment, `user` in the catalog's folder. No run and no rebuild touches it, and any
process of the owner may write it at any time, one short durable transaction after the other.

    albums      folded name  → Album
    proposals   photo_id     → Proposal
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from catalogd.catalog.environment import (
    FIRST_MAP_BYTES,
    TableNames,
    Tables,
    acquire,
    id_bytes,
    release,
)
from catalogd.records import Album, Proposal, encode

TABLES = TableNames(("albums", "proposals"))

_decode_album = msgspec.msgpack.Decoder(Album).decode
_decode_proposal = msgspec.msgpack.Decoder(Proposal).decode


def folded(name: str) -> str:
    """A name as it is compared: whatever its case, its accents' spelling and the space around it."""
    return unicodedata.normalize("NFC", " ".join(name.split()).casefold())


class UserData:
    """The user data of one catalog. Use it as a context manager, or `close` it; safe from any thread."""

    def __init__(self, catalog_folder: Path) -> None:
        """Opens it, and makes it where there is none."""
        self._environment = acquire(catalog_folder / "user", True, FIRST_MAP_BYTES, TABLES)
        self._closed = False

    def __enter__(self) -> UserData:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of it. Twice is fine."""
        if not self._closed:
            self._closed = True
            release(self._environment)

    # -- albums ----------------------------------------------------------------------------------

    def albums(self) -> list[Album]:
        """All albums, by name."""
        with self._environment.read() as transaction:
            return [_decode_album(value) for _, value in Tables(transaction).rows("albums")]

    def album(self, name: str) -> Album | None:
        """The album of this name, whatever its case."""
        with self._environment.read() as transaction:
            value = Tables(transaction).get("albums", folded(name).encode())
        return None if value is None else _decode_album(value)

    def put_album(self, album: Album) -> None:
        """Keep `album`, in place of one of the same name."""
        key = folded(album.name).encode()
        self._environment.write(lambda transaction: Tables(transaction).put("albums", key, encode(album)))

    def delete_album(self, name: str) -> bool:
        """Forget an album, never its photos; False when there is none of this name."""
        key = folded(name).encode()
        return self._environment.write(lambda transaction: Tables(transaction).delete("albums", key))

    # -- proposals -------------------------------------------------------------------------------

    def proposals(self) -> dict[int, Proposal]:
        """photo_id → what was proposed for it."""
        with self._environment.read() as transaction:
            rows = Tables(transaction).rows("proposals")
            return {int.from_bytes(key, "big"): _decode_proposal(value) for key, value in rows}

    def proposal(self, photo_id: int) -> Proposal | None:
        """What was proposed for one photo."""
        with self._environment.read() as transaction:
            value = Tables(transaction).get("proposals", id_bytes(photo_id))
        return None if value is None else _decode_proposal(value)

    def put_proposals(self, proposals: Mapping[int, Proposal]) -> None:
        """Keep them, in place of former ones of the same photos."""
        rows = [(id_bytes(photo_id), encode(proposal)) for photo_id, proposal in sorted(proposals.items())]
        self._environment.write(lambda transaction: Tables(transaction).put_all("proposals", rows))

    def drop_proposals(self, photo_ids: Iterable[int]) -> int:
        """Forget those of these photos; returns how many there were."""
        keys = [id_bytes(photo_id) for photo_id in photo_ids]
        return self._environment.write(
            lambda transaction: sum([Tables(transaction).delete("proposals", key) for key in keys])
        )
