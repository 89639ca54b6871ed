"""What a person said of faces: actions, and what each of them changes.

    Action ─▶ apply ─▶ rows of `persons`, `names`, `pins`, `anchors`, `refusals`, `forgotten`

An action speaks of faces as they stand in photos (Mark), never of clusters alone: models, clusters and
photo_ids may all be others when it is read again, here or on another machine. The rules are in
docs/people.md; each is a function below. The same action applied twice changes nothing the second time.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import msgspec
import xxhash

from catalogd.catalog.environment import Tables, id_bytes
from catalogd.errors import ConflictError, UsageError
from catalogd.folding import fold
from catalogd.records import Box, encode

SAME_FACE_IOU = 0.4  # least overlap of two boxes of one face: two models frame a face at 0.5 and more
LONGEST_NAME_BYTES = 400  # folded: an LMDB key holds 511
MADE_IDS_END = 1 << 52  # below it persons that were made here or there, from it on names in files
_BOX_STEPS = 65_535  # of a coordinate in keys
_JOINERS = "\u200c\u200d"  # inside Persian and Indian names, and in emoji: not printable, but meant


class Mark(msgspec.Struct, frozen=True, array_like=True):
    """One face, so that it is found again: in this photo, or in one of the same content, by its box."""

    photo_id: int
    size: int  # bytes of the photo's file
    content: bytes  # 16 bytes: Record.content
    box: Box
    cluster_id: int = 0  # that it was in then


class Action(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that a person said. `kind` is a key of RULES, or "import".

    `parts` are said before it: what an import holds, or that somebody whom only files named is a person.
    """

    action_id: str  # unique on all machines
    at: float  # seconds since the epoch
    kind: str
    person: int = 0
    other: int = 0  # of a merge and a split: the second person
    name: str = ""
    former: str = ""  # the name before, for whoever reads the journal
    keeps_name: bool = False  # of a new name: the one before stays as an alias
    faces: tuple[Mark, ...] = ()
    parts: tuple[Action, ...] = ()
    origin: str = "user"  # "file": the person was known from names in photos before


class Person(msgspec.Struct, frozen=True, omit_defaults=True):
    """Somebody, also without a name."""

    person_id: int
    name: str = ""
    aliases: tuple[str, ...] = ()
    hidden: bool = False  # left out of lists
    ignored: bool = False  # a stranger: never suggested
    into: int = 0  # the person that this one was merged into
    made_at: float = 0.0
    origin: str = "user"  # "file": from names in photos


class Claim(msgspec.Struct, frozen=True, array_like=True):
    """That a face is a person (pins, anchors), or is not (refusals)."""

    person: int
    at: float
    mark: Mark


class NameTakenError(ConflictError):
    """Another person has this name."""

    def __init__(self, name: str, person_id: int) -> None:
        super().__init__(f"there is a {name} already: --merge makes them one person, or choose another name")
        self.name = name
        self.person_id = person_id


class Effect(NamedTuple):
    """One row that an action changed. None: there is no such row."""

    table: str
    key: bytes
    before: bytes | None
    after: bytes | None


decode_person = msgspec.msgpack.Decoder(Person).decode
decode_claim = msgspec.msgpack.Decoder(Claim).decode
decode_action = msgspec.msgpack.Decoder(Action).decode


# ── names ─────────────────────────────────────────────────────────────────────────────────────


def folded(name: str) -> str:
    """A name as it is compared: whatever its case, its accents' spelling and the space around it."""
    return unicodedata.normalize("NFC", " ".join(name.split()).casefold())


def plain(name: str) -> str:
    """The folded name without accents and joiners: found too, unless another person has that name."""
    return fold("".join(sign for sign in folded(name) if sign not in _JOINERS))


def checked_name(name: str) -> str:
    """The name with single blanks. Raises UsageError for what can be no name."""
    spelled = unicodedata.normalize("NFC", name)
    shown = "".join(sign if sign.isprintable() or sign in _JOINERS else " " for sign in spelled)
    tidy = " ".join(shown.split())
    if not tidy.strip(_JOINERS + " "):
        raise UsageError("a name has at least one letter")
    if tidy.isdecimal():
        raise UsageError(f"{tidy} can't be a name: a number stands for the person of that number")
    if max(len(folded(tidy).encode()), len(plain(tidy).encode())) > LONGEST_NAME_BYTES:
        raise UsageError(f"a name has at most {LONGEST_NAME_BYTES} bytes")
    return tidy


def forgotten_key(name: str) -> bytes:
    """What is kept of a name that is to be forgotten: it can be recognised, and not be read."""
    return xxhash.xxh3_64_digest(folded(name).encode())


# ── faces ─────────────────────────────────────────────────────────────────────────────────────


def overlap(one: Box, other: Box) -> float:
    """The share of their union that two boxes have in common."""
    across = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    down = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    if across <= 0 or down <= 0:
        return 0.0
    return across * down / (one[2] * one[3] + other[2] * other[3] - across * down)


def mark_key(mark: Mark) -> bytes:
    """photo_id and box, to a 65,535th of the frame."""
    corners = (round(min(max(part, 0.0), 1.0) * _BOX_STEPS).to_bytes(2, "big") for part in mark.box)
    return id_bytes(mark.photo_id) + b"".join(corners)


# ── rows ──────────────────────────────────────────────────────────────────────────────────────


class Rows:
    """The tables inside one transaction, which notes what every changed row was before."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._before: dict[tuple[str, bytes], bytes | None] = {}

    def effects(self) -> tuple[Effect, ...]:
        """The rows that differ from what they were."""
        rows = ((key, before, self._tables.get(*key)) for key, before in self._before.items())
        return tuple(Effect(*key, before, after) for key, before, after in rows if before != after)

    def get(self, table: str, key: bytes) -> bytes | None:
        return self._tables.get(table, key)

    def set(self, table: str, key: bytes, value: bytes | None) -> None:
        self._before.setdefault((table, key), self._tables.get(table, key))
        if value is None:
            self._tables.delete(table, key)
        else:
            self._tables.put(table, key, value)

    def rows_with(self, table: str, prefix: bytes) -> list[tuple[bytes, bytes]]:
        return list(self._tables.rows_with(table, prefix))

    # -- persons and their names --

    def person(self, person_id: int) -> Person | None:
        """The person, or whoever it was merged into."""
        value = self.get("persons", id_bytes(person_id))
        found = None if value is None else decode_person(value)
        return self.person(found.into) if found is not None and found.into else found

    def put_person(self, person: Person) -> None:
        """Keep the person, and the index of its names as they are now."""
        key = id_bytes(person.person_id)
        value = self.get("persons", key)
        for name in _names(decode_person(value)) if value is not None else ():
            self._drop_name(name, person.person_id)
        self.set("persons", key, encode(person))
        for name in _names(person):
            self.set("names", _exact_key(name), key)
            self.set("names", _plain_key(name) + key, b"")
            self.set("forgotten", forgotten_key(name), None)

    def _drop_name(self, name: str, person_id: int) -> None:
        if self.get("names", _exact_key(name)) == id_bytes(person_id):
            self.set("names", _exact_key(name), None)
        self.set("names", _plain_key(name) + id_bytes(person_id), None)

    def require_free(self, name: str, person_id: int) -> None:
        """Raises NameTakenError when another person has the name."""
        value = self.get("names", _exact_key(name))
        if value is not None and int.from_bytes(value, "big") != person_id:
            raise NameTakenError(name, int.from_bytes(value, "big"))

    # -- claims --

    def newest(self, table: str, mark: Mark, person_id: int | None = None) -> Claim | None:
        """What was said last of a face (and that person) of this photo."""
        claims = (decode_claim(value) for _, value in self.rows_with(table, id_bytes(mark.photo_id)))
        same = (
            claim
            for claim in claims
            if overlap(claim.mark.box, mark.box) >= SAME_FACE_IOU
            and person_id in (None, self._id_of(claim.person))
        )
        return max(same, key=lambda claim: claim.at, default=None)

    def pin(self, mark: Mark, person_id: int, at: float) -> None:
        """That a face is a person, unless that was the last word anyway."""
        pinned, refused = self.newest("pins", mark), self.newest("refusals", mark, person_id)
        stands = pinned is not None and self._id_of(pinned.person) == person_id
        if stands and pinned is not None and (refused is None or refused.at < pinned.at):
            return
        if pinned is None or pinned.at <= at:
            self.set("pins", mark_key(mark), encode(Claim(person_id, at, mark)))

    def refuse(self, mark: Mark, person_id: int, at: float) -> None:
        """That a face is not a person, unless that was the last word anyway."""
        pinned, refused = self.newest("pins", mark, person_id), self.newest("refusals", mark, person_id)
        if refused is not None and (pinned is None or pinned.at < refused.at):
            return
        self.set("refusals", mark_key(mark) + id_bytes(person_id), encode(Claim(person_id, at, mark)))

    def anchor(self, marks: Iterable[Mark], person_id: int, at: float) -> None:
        """That these faces were in a person's cluster; the first word counts."""
        for mark in marks:
            key = mark_key(mark) + id_bytes(person_id)
            if self.get("anchors", key) is None:
                self.set("anchors", key, encode(Claim(person_id, at, mark)))

    def _id_of(self, person_id: int) -> int:
        person = self.person(person_id)
        return person.person_id if person else person_id


def _names(person: Person) -> Iterator[str]:
    """What a person is found by; of one that was merged into another: nothing."""
    if not person.into:
        yield from filter(None, (person.name, *person.aliases))


def _exact_key(name: str) -> bytes:
    return b"=" + folded(name).encode()


def _plain_key(name: str) -> bytes:
    return b"~" + plain(name).encode() + b"\0"


def persons_named(get: Callable[[str, bytes], bytes | None], tables: Tables, name: str) -> list[int]:
    """The persons of this name or alias; whoever differs in accents alone only when nobody has it."""
    value = get("names", _exact_key(name))
    if value is not None:
        return [int.from_bytes(value, "big")]
    return sorted({int.from_bytes(key[-8:], "big") for key, _ in tables.rows_with("names", _plain_key(name))})


# ── rules ─────────────────────────────────────────────────────────────────────────────────────


def _name(rows: Rows, action: Action) -> None:
    """A person has a name, with the faces of its cluster; without a name it is still the same person."""
    person = rows.person(action.person) or _made(action)
    if action.name:
        rows.require_free(action.name, person.person_id)
        renamed = _renamed(person, action.name, action.keeps_name)
        person = msgspec.structs.replace(renamed, origin=action.origin)
    rows.put_person(person)
    rows.anchor(action.faces, person.person_id, action.at)


def _alias(rows: Rows, action: Action) -> None:
    person = _existing(rows, action.person)
    rows.require_free(action.name, person.person_id)
    if folded(action.name) not in map(folded, _names(person)):
        rows.put_person(msgspec.structs.replace(person, aliases=(*person.aliases, action.name)))


def _unalias(rows: Rows, action: Action) -> None:
    person = _existing(rows, action.person)
    left = tuple(name for name in person.aliases if folded(name) != folded(action.name))
    if left != person.aliases:
        rows.put_person(msgspec.structs.replace(person, aliases=left))


def _merge(rows: Rows, action: Action) -> None:
    """The other person is this one from now on, with all names and faces."""
    person, other = _existing(rows, action.person), _existing(rows, action.other)
    if person.person_id == other.person_id:
        return
    rows.put_person(msgspec.structs.replace(other, into=person.person_id))
    names = _each_once([*_names(person), *_names(other)])
    rows.put_person(msgspec.structs.replace(person, name=names[0] if names else "", aliases=names[1:]))


def _split(rows: Rows, action: Action) -> None:
    """These faces are another person, and not the `other`."""
    if rows.person(action.person) is None:
        _name(rows, msgspec.structs.replace(action, faces=()))
    person, other = _existing(rows, action.person), _existing(rows, action.other)
    for mark in action.faces:
        rows.refuse(mark, other.person_id, action.at)
        rows.pin(mark, person.person_id, action.at)


def _not(rows: Rows, action: Action) -> None:
    person = _existing(rows, action.person)
    for mark in action.faces:
        rows.refuse(mark, person.person_id, action.at)


def _is(rows: Rows, action: Action) -> None:
    person = _existing(rows, action.person)
    for mark in action.faces:
        rows.pin(mark, person.person_id, action.at)


def _flag(**flags: bool) -> Callable[[Rows, Action], None]:
    """The rule that sets a flag of a person, or of the one that a cluster without a name becomes by it."""

    def rule(rows: Rows, action: Action) -> None:
        person = rows.person(action.person) or _made(action)
        rows.put_person(msgspec.structs.replace(person, **flags))
        rows.anchor(action.faces, person.person_id, action.at)

    return rule


def _forget(rows: Rows, action: Action) -> None:
    """A person loses all names; the faces stay together."""
    person = rows.person(action.person)
    if person is not None:
        rows.put_person(msgspec.structs.replace(person, name="", aliases=()))
    for name in [action.name, *(_names(person) if person else ())]:
        if name and rows.get("forgotten", forgotten_key(name)) is None:
            rows.set("forgotten", forgotten_key(name), b"")


RULES: dict[str, Callable[[Rows, Action], None]] = {
    "name": _name,
    "alias": _alias,
    "unalias": _unalias,
    "merge": _merge,
    "split": _split,
    "not": _not,
    "is": _is,
    "hide": _flag(hidden=True),
    "unhide": _flag(hidden=False),
    "ignore": _flag(ignored=True),
    "unignore": _flag(ignored=False),
    "forget": _forget,
}


# Of two actions that decide the same of a person, the newer counts, whichever was heard of first.
_DECIDES = {
    "name": "name",
    "forget": "name",
    "alias": "alias",
    "unalias": "alias",
    "hide": "hidden",
    "unhide": "hidden",
    "ignore": "ignored",
    "unignore": "ignored",
}


def decided(rows: Rows, action: Action) -> tuple[int, str, str] | None:
    """What the action decides of whom who is here, where it does more than to add something."""
    what, person = _DECIDES.get(action.kind), rows.person(action.person)
    if what is None or person is None or (action.kind == "name" and not action.name):
        return None
    return person.person_id, what, folded(action.name) if what == "alias" else ""


def apply(rows: Rows, action: Action) -> None:
    """Change the rows as the action says. Raises UsageError, with some of them changed."""
    for part in action.parts:
        apply(rows, part)
    if action.kind not in RULES:
        raise UsageError(f"{action.kind!r} is an action that this catalogd does not know: update it")
    RULES[action.kind](rows, action)


def _made(action: Action) -> Person:
    return Person(action.person, made_at=action.at, origin=action.origin)


def _existing(rows: Rows, person_id: int) -> Person:
    person = rows.person(person_id)
    if person is None:
        raise UsageError("that person is not there any more; `catalogd people list` shows who is")
    return person


def _renamed(person: Person, name: str, keeps_name: bool) -> Person:
    aliases = [*person.aliases, *([person.name] if keeps_name and person.name else [])]
    kept = _each_once([name, *aliases])[1:]
    return msgspec.structs.replace(person, name=name, aliases=kept)


def _each_once(names: Iterable[str]) -> tuple[str, ...]:
    known: dict[str, str] = {}
    for name in names:
        known.setdefault(folded(name), name)
    return tuple(known.values())
