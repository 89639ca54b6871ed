"""Photos with faces for the tests of people: whoever is asked for, where asked for, in a real catalog."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from catalogd.catalog import Catalog
from catalogd.catalog.face_following import FaceFollower
from catalogd.catalog.journal import Action
from catalogd.catalog.user_data import Entry, UserData, new_action_id, new_person_id
from catalogd.records import Box, Face, Facts, Output, Record
from catalogd.settings import Settings
from tests.catalog.photos import PROFILE, photo

DIMENSION = 32
PLACES: tuple[Box, ...] = ((0.1, 0.1, 0.2, 0.3), (0.6, 0.1, 0.2, 0.3), (0.1, 0.6, 0.2, 0.3))


def face(who: str, path: str, place: int = 0, model: str = "faces 1", quality: float = 0.9) -> Face:
    """A face of `who`: near all others of that name, far from everybody else's; another space a model."""
    centre = _direction(f"{who} {model}")
    near = centre + 0.35 * _direction(f"{who} {path} {place} {model}")
    x, y, width, height = PLACES[place]
    shift = 0.01 if model != "faces 1" else 0.0
    embedding = (near / np.linalg.norm(near)).astype("<f2").tobytes()
    return Face((x + shift, y, width, height - shift), (), 0.9, quality, embedding)


def _direction(seed: str) -> Any:
    number = int.from_bytes(hashlib.blake2b(seed.encode(), digest_size=8).digest(), "big")
    numbers = np.random.default_rng(number).normal(size=DIMENSION)
    return numbers / np.linalg.norm(numbers)


def shot(path: str, *who: str, of: str = "", model: str = "faces 1", **facts: Any) -> Record:
    """A photo of some people, each in a place of its own."""
    name = of or path
    faces = tuple(face(one, name, place, model) for place, one in enumerate(who))
    return photo(
        path,
        of=name,
        content=hashlib.blake2b(name.encode(), digest_size=16).digest(),
        facts=Facts("jpeg", 40, 30, **facts),
        outputs={"faces": Output(model, faces=faces)},
    )


class Family:
    """A catalog for writing with its people, as a run and a person at the command line have it together."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.catalog = Catalog.open(settings.catalog, settings, write=True)
        self.user = UserData(settings.catalog)
        self.people = self.catalog.people
        self.follower = FaceFollower(self.catalog._store, self.people.constraints)

    def __enter__(self) -> Family:
        return self

    def __exit__(self, *_: object) -> None:
        self.user.close()
        self.catalog.close()

    def commit(self, *records: Any) -> None:
        self.catalog.commit(records, PROFILE)
        self.follow()

    def follow(self) -> None:
        self.catalog.follow_names()
        self.follower.follow(force=True)

    def id_of(self, path: str) -> int:
        return self.catalog.photo_id_of(path.encode()) or 0

    def cluster_at(self, path: str, place: int = 0) -> int:
        table = self.people.identities().faces
        return int(table.clusters[table.rows_in(self.id_of(path))[place]])

    def on(self, path: str) -> list[str | None]:
        """Who is on a photo, face by face."""
        return [face.name for face in self.people.faces_of(self.id_of(path))]

    def everywhere(self) -> dict[str, list[str | None]]:
        """Path → who is on it, of all photos with faces."""
        found = {record.name: self.on(record.name) for record in self.catalog.iter_records()}
        return {path: names for path, names in found.items() if names}

    def photos_of(self, name: str) -> list[str]:
        person = self.people.find(name)
        if person is None:
            return []
        records = self.catalog.records(self.people.photos_of(person.person_id).tolist())
        return sorted(record.name for record in records if record)

    # -- what a person says --

    def act(self, kind: str, person: int, **said: Any) -> Entry | None:
        return self.user.act(Action(new_action_id(), 0.0, kind, person, **said))

    def name(self, path: str, name: str, place: int = 0) -> int:
        """Name the cluster that a face is in."""
        person_id = new_person_id()
        one = self.people.who(str(self.cluster_at(path, place)))
        assert self.act("name", person_id, name=name, faces=tuple(self.people.anchors_of(one)))
        return person_id

    def id(self, name: str) -> int:
        person = self.people.find(name)
        assert person is not None
        return person.person_id

    def marks(self, path: str, *places: int) -> tuple[Any, ...]:
        rows = self.people.identities().faces.rows_in(self.id_of(path))
        return tuple(self.people.marks([rows[place] for place in places or (0,)]))

    def listed(self) -> list[tuple[str, int]]:
        return [(one.name, len(one.faces)) for one in self.people.everybody()]


def library(*people: str, photos: int = 4) -> Sequence[Record]:
    """So many photos of each of some people alone."""
    return [shot(f"/p/{who}{number}.jpg", who) for who in people for number in range(photos)]
