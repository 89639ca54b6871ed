"""What a person may say of people, as actions: from who is meant to what is noted in the journal.

Every method is one action and one durable transaction; None is returned where nothing had to change.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from catalogd.catalog.environment import Ids
from catalogd.catalog.faces import FaceIndex
from catalogd.catalog.journal import MADE_IDS_END, Action, Mark, NameTakenError, checked_name, folded
from catalogd.catalog.people import People, Somebody
from catalogd.catalog.user_data import Entry, UserData, new_action_id, new_person_id
from catalogd.errors import UsageError


class Suggestion(NamedTuple):
    """Two that may be one person."""

    one: Somebody  # the one with a name, where one has
    other: Somebody
    score: float | None  # mean cosine of their faces; None: names that differ in accents, or a tie
    reason: str


class Actor:
    """Says things about people in one catalog."""

    def __init__(self, people: People, user: UserData) -> None:
        self._people = people
        self._user = user

    # -- names -----------------------------------------------------------------------------------

    def name(self, one: Somebody, name: str, merge: bool = False) -> Entry | None:
        """Give somebody a name. Raises NameTakenError when another has it and they are not to `merge`."""
        name = checked_name(name)
        taken = self._people.find(name)
        is_taken = taken is not None and folded(name) in map(folded, (taken.name, *taken.aliases))
        if taken is not None and is_taken and (one.person is None or taken.person_id != one.person.person_id):
            if not merge:
                raise NameTakenError(taken.name, taken.person_id)
            return self.merge(self._people.somebody(taken), [one])
        if one.person is None:
            return self._act("name", new_person_id(), name=name, faces=self._anchors(one), former=one.name)
        person_id, parts = self._known(one)
        former = one.person.name
        keeps = bool(former) and self._people.is_named_in_files(former)
        return self._act("name", person_id, name=name, former=former, keeps_name=keeps, parts=parts)

    def alias(self, one: Somebody, name: str) -> Entry | None:
        """Give a named person another name."""
        person_id, parts = self._known(one)
        return self._act("alias", person_id, name=checked_name(name), former=one.name, parts=parts)

    def unalias(self, one: Somebody, name: str) -> Entry | None:
        """Take another name away."""
        person_id, parts = self._known(one)
        return self._act("unalias", person_id, name=name, former=one.name, parts=parts)

    # -- who is one ------------------------------------------------------------------------------

    def merge(self, one: Somebody, others: Sequence[Somebody]) -> Entry | None:
        """All of them are one person, of the first one's name."""
        person_id, parts = self._known(one)
        merged: list[Action] = []
        for other in others:
            other_id, known = self._known(other)
            if other_id != person_id:
                merged += [*known, self._action("merge", person_id, other=other_id, name=other.name)]
        if not merged:
            return None
        *before, last = merged
        former = ", ".join(other.name for other in others)
        return self._user.act(
            msgspec.structs.replace(last, parts=(*parts, *before), former=former, name=one.name)
        )

    def split(self, one: Somebody, rows: Ids, name: str = "") -> Entry | None:
        """These faces, rows of the face table, are another person, new or of this name."""
        person_id, parts = self._known(one)
        taken = self._people.find(name) if name else None
        if taken is not None and taken.person_id == person_id:
            raise UsageError(f"{taken.name} is who these faces are taken from; choose another name")
        if taken is not None:
            other_id, known = self._known(self._people.somebody(taken))
        else:
            other_id, known = new_person_id(), ()
        return self._act(
            "split",
            other_id,
            other=person_id,
            name="" if taken or not name else checked_name(name),
            former=one.name,
            faces=tuple(self._people.marks(rows)),
            parts=(*parts, *known),
        )

    def refuse(self, one: Somebody, rows: Ids) -> Entry | None:
        """These faces are not this person."""
        return self._of_faces("not", one, rows)

    def pin(self, one: Somebody, rows: Ids) -> Entry | None:
        """These faces are this person, whatever cluster they are in."""
        return self._of_faces("is", one, rows)

    # -- lists -----------------------------------------------------------------------------------

    def flag(self, kind: str, one: Somebody) -> Entry | None:
        """Hide, unhide, ignore or unignore somebody."""
        if one.person is None and kind in ("unhide", "unignore"):
            return None
        person_id, parts = self._known(one)
        return self._act(kind, person_id, former=one.name, parts=parts)

    def forget(self, one: Somebody) -> Entry | None:
        """Take all names from somebody, also those in files; the faces stay together."""
        if one.person is None:
            return None
        person_id, parts = self._known(one)
        return self._act("forget", person_id, name=one.person.name, former=one.name, parts=parts)

    def erase(self, one: Somebody) -> None:
        """Take somebody out of all that is kept here, for good."""
        if one.person is not None:
            self._user.erase(one.person.person_id, one.person.name)

    def keep_anchors(self) -> None:
        """Note by which faces people are found again, before clusters change or are left behind."""
        self._user.put_anchors(self._people.more_anchors())

    def exported(self) -> list[Action]:
        """What holds, for another catalog: all that was said, and by which faces people are found today."""
        self.keep_anchors()
        said = self._user.said()
        noted = sorted(said.anchors, key=lambda claim: claim.person)
        marks = {
            person_id: tuple(claim.mark for claim in claims)
            for person_id, claims in itertools.groupby(noted, lambda claim: claim.person)
        }
        anchors = [
            Action(f"anchors {person_id} {len(faces)}", 0.0, "name", person_id, faces=faces)
            for person_id, faces in marks.items()
            if person_id in said.persons
        ]
        return [*self._user.exported(), *anchors]

    # -- parts -----------------------------------------------------------------------------------

    def _of_faces(self, kind: str, one: Somebody, rows: Ids) -> Entry | None:
        person_id, parts = self._known(one)
        faces = tuple(self._people.marks(rows))
        return self._act(kind, person_id, former=one.name, faces=faces, parts=parts)

    def _known(self, one: Somebody) -> tuple[int, tuple[Action, ...]]:
        """The id of somebody, and what must be said first so that it is a person that is kept."""
        if one.person is not None and one.person.person_id < MADE_IDS_END:
            return one.person.person_id, ()
        person_id, is_in_files = new_person_id(), one.person is not None
        name = one.person.name if one.person is not None else ""
        origin = "file" if is_in_files else "user"
        made = self._action("name", person_id, name=name, origin=origin, faces=self._anchors(one))
        return person_id, (made,)

    def _anchors(self, one: Somebody) -> tuple[Mark, ...]:
        return tuple(self._people.anchors_of(one))

    def _action(self, kind: str, person: int, **said: Any) -> Action:
        return Action(new_action_id(), 0.0, kind, person, **said)

    def _act(self, kind: str, person: int, **said: Any) -> Entry | None:
        return self._user.act(self._action(kind, person, **said))


class Suggestions:
    """Who may be one person."""

    def __init__(self, people: People) -> None:
        self._people = people

    def best(self, faces: FaceIndex, limit: int) -> list[Suggestion]:
        """Pairs that are probably one person, surest first: strangers are left out."""
        found = [*self._by_name(), *self._undecided(), *self._by_likeness(faces, limit)]
        return [pair for pair in found if not (_is_ignored(pair.one) or _is_ignored(pair.other))][:limit]

    def _by_likeness(self, faces: FaceIndex, limit: int) -> list[Suggestion]:
        found = []
        known = set()
        for pair in faces.suggest_merges(4 * limit):
            one, other = (self._people.of_cluster(number) for number in (pair.cluster_id, pair.other_id))
            if one is None or other is None:
                continue
            if other.person is not None and (one.person is None or not one.person.name):
                one, other = other, one
            if one.number != other.number and (one.number, other.number) not in known:
                known.add((one.number, other.number))
                found.append(Suggestion(one, other, pair.score, "their faces are alike"))
        return found

    def _by_name(self) -> list[Suggestion]:
        """People whose names differ in accents alone."""
        alike = (
            (one, other)
            for one, other in itertools.combinations(self._people.persons(), 2)
            if one.name and other.name and self._people.are_alike(one.name, other.name)
        )
        reason = "their names differ in accents alone"
        return [
            Suggestion(self._people.somebody(one), self._people.somebody(other), None, reason)
            for one, other in alike
        ]

    def _undecided(self) -> list[Suggestion]:
        identities = self._people.identities()
        found = []
        for cluster, who in identities.undecided.items():
            persons = [identities.persons[person_id] for person_id in who if person_id in identities.persons]
            if len(persons) > 1:
                one, other = (self._people.somebody(person) for person in persons[:2])
                found.append(Suggestion(one, other, None, f"both have as much of cluster {cluster}"))
        return found


def _is_ignored(one: Somebody) -> bool:
    return one.person is not None and one.person.ignored
