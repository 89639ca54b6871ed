"""What people told catalogd: journaled, undone and redone in order, the same said twice is said once."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from catalogd.catalog.journal import Action, NameTakenError, checked_name, folded, plain
from catalogd.catalog.seeds import Seed
from catalogd.catalog.user_data import Said, UserData, new_action_id
from catalogd.errors import UsageError
from catalogd.records import Album, Proposal
from catalogd.settings import Settings
from tests.catalog.family import Family, library


@pytest.fixture
def user(tmp_path: Path):
    with UserData(tmp_path) as user:
        yield user


def said(kind: str, person: int, **more: Any) -> Action:
    return Action(new_action_id(), 0.0, kind, person, **more)


def state(said: Said) -> Any:
    """All that holds, without when it was said."""
    people = {key: msgspec.structs.replace(person, made_at=0.0) for key, person in said.persons.items()}
    claims = [sorted((claim.person, claim.mark) for claim in claims) for claims in said[2:5]]
    return people, claims, said.forgotten


# ── albums and proposals ──────────────────────────────────────────────────────────────────────


def test_albums_are_found_by_name_whatever_its_case(user: UserData) -> None:
    user.put_album(Album("Été 2023", query="beach"))
    assert user.album("  éTÉ   2023 ") == Album("Été 2023", query="beach")
    assert (user.delete_album("été 2023"), user.delete_album("été 2023"), user.albums()) == (True, False, [])


def test_proposals_are_kept_by_photo(user: UserData) -> None:
    user.put_proposals({1: Proposal(rating=5), 2: Proposal(label="Red")})
    assert (user.proposal(1), user.drop_proposals([1, 3])) == (Proposal(rating=5), 1)
    assert user.proposals() == {2: Proposal(label="Red")}


# ── the journal ───────────────────────────────────────────────────────────────────────────────


def test_undo_and_redo_go_through_the_journal_in_order(user: UserData) -> None:
    user.act(said("name", 1, name="Anna"))
    user.act(said("alias", 1, name="Nana"))
    user.act(said("hide", 1))
    full = state(user.said())
    assert [entry.action.kind for entry in user.undo(2)] == ["hide", "alias"]
    assert (user.named("Nana"), [person.hidden for person in user.named("anna")]) == ([], [False])
    assert [entry.action.kind for entry in user.redo()] == ["alias"]
    assert [entry.action.kind for entry in user.redo(5)] == ["hide"]
    assert state(user.said()) == full
    user.undo()
    user.act(said("alias", 1, name="Ann"))
    assert user.redo() == []
    assert [bool(entry.undone_at) for entry in user.journal()] == [False, False, True, False]


def test_redo_never_brings_back_what_something_else_was_said_instead_of(user: UserData) -> None:
    """It brought back the alias that was dropped first, and then the other one beside it."""
    user.act(said("name", 1, name="Anna"))
    user.act(said("alias", 1, name="Nana"))
    user.undo()
    user.act(said("alias", 1, name="Ann"))
    user.undo(2)
    assert [entry.action.name for entry in user.redo(9)] == ["Anna", "Ann"]
    assert (user.redo(), [person.aliases for person in user.named("Anna")]) == ([], [("Ann",)])


def test_what_changes_nothing_is_not_in_the_journal(user: UserData) -> None:
    user.act(said("name", 1, name="Anna"))
    version = user.version()
    for action in (
        said("name", 1, name="Anna"),
        said("alias", 1, name="anna"),
        said("unhide", 1),
        said("unalias", 1, name="x"),
    ):
        assert user.act(action) is None
    assert (len(user.journal()), user.version()) == (1, version)


def test_a_name_of_another_is_refused_with_nothing_changed(user: UserData) -> None:
    user.act(said("name", 1, name="Anna"))
    user.act(said("name", 2, name="Ben"))
    before = state(user.said())
    for action in (said("name", 2, name="ANNA"), said("alias", 2, name="anna"), said("name", 3, name="Anna")):
        with pytest.raises(NameTakenError):
            user.act(action)
    with pytest.raises(UsageError, match="not there any more"):
        user.act(said("merge", 1, other=9))
    assert state(user.said()) == before


def test_merges_follow_each_other_and_a_circle_is_none(user: UserData) -> None:
    for person, name in ((1, "Anna"), (2, "Ben"), (3, "Cleo")):
        user.act(said("name", person, name=name))
    user.act(said("merge", 1, other=2))
    user.act(said("merge", 3, other=1))
    assert user.act(said("merge", 2, other=3)) is None
    assert {person.person_id for name in ("Anna", "Ben", "Cleo") for person in user.named(name)} == {3}
    assert user.undo()[0].action.person == 3
    assert [person.person_id for person in user.named("Ben")] == [1]


def test_what_was_imported_is_undone_as_one_and_can_come_again(user: UserData, tmp_path: Path) -> None:
    actions = [said("name", 1, name="Anna"), said("name", 2, name="Ben"), said("waltz", 3)]
    imported = user.import_actions(actions)
    assert imported.left_out == ("waltz: 'waltz' is an action that this catalogd does not know: update it",)
    assert [action.action_id for action in user.exported()] == [action.action_id for action in actions[:2]]
    user.undo()
    assert user.said().persons == {}
    assert user.import_actions(actions[:2]).entry is not None
    assert len(user.said().persons) == 2


def test_an_import_overrules_nothing_newer(user: UserData, tmp_path: Path) -> None:
    """Names and flags of the file replaced newer ones: the last that was heard of counted."""
    with UserData(tmp_path / "other") as other:
        other.act(said("name", 1, name="Anna"))
        user.import_actions(other.exported())
        other.act(said("name", 1, name="Annie"))
        other.act(said("hide", 1))
        user.act(said("name", 1, name="Anne"))
        other.act(said("alias", 1, name="Nana"))
        imported = user.import_actions(other.exported())
        assert imported.left_out == ("name Annie: something newer was said of it here",)
        [anna] = user.said().persons.values()
        assert (anna.name, anna.aliases, anna.hidden) == ("Anne", ("Nana",), True)
        other.act(said("name", 1, name="Anja"))
        user.import_actions(other.exported())
        assert [person.person_id for person in user.named("Anja")] == [1]


def test_who_was_erased_does_not_come_back_by_anchors_nor_by_what_programs_say(user: UserData) -> None:
    """Anchors of a later export made the person again, without a name; other programs' names stayed."""
    user.act(said("name", 1, name="Anna"))
    user.put_seeds("other", {5: [Seed("ANNA"), Seed("Ben")], 6: [Seed("anna")]})
    exported = user.exported()
    user.erase(1)
    assert user.seeds() == [(5, (Seed("Ben"),))]
    imported = user.import_actions([*exported, Action("anchors 1 200", 0.0, "name", 1)])
    assert (imported.entry, imported.left_out, user.said().persons) == (None, (), {})


def test_two_processes_of_one_owner_see_each_other(user: UserData, tmp_path: Path) -> None:
    with UserData(tmp_path) as other:
        user.act(said("name", 1, name="Anna"))
        assert [person.name for person in other.named("anna")] == ["Anna"]
        assert other.version() == user.version()


@pytest.mark.parametrize("name", ["", "  \t", "17", "x" * 401, "ﬃ" * 140])
def test_what_can_be_no_name_says_why(name: str) -> None:
    with pytest.raises(UsageError):
        checked_name(name)


def test_names_are_compared_without_case_and_accents_spelling() -> None:
    assert folded(" Anna   NU\u0301ÑEZ") == folded("anna n\u00fañez")
    assert plain("Núñez Æ") == "nunez ae"
    assert checked_name("Anna\n Núñez ") == "Anna Núñez"


@pytest.mark.parametrize("name", ["علی\u200cرضا", "👩\u200d👧", "क्\u200dष"])
def test_joiners_inside_a_name_stay_and_need_not_be_typed(name: str) -> None:
    """They became blanks, which took such names and emoji apart."""
    assert checked_name(name) == name
    assert plain(name) == plain(name.replace("\u200c", "").replace("\u200d", ""))
    with pytest.raises(UsageError):
        checked_name("\u200d \u200c")


# ── any actions in any order ──────────────────────────────────────────────────────────────────

NAMES = st.sampled_from(["Anna", "Ben", "Cleo"])
WHO = st.sampled_from("ab")
PHOTO = st.integers(0, 3)


class Sayings(RuleBasedStateMachine):
    """Random actions, undo, redo and clusterings on a library of two people, against a plain model.

    The model is, per face, what was said of it last by pin or refusal, and a stack of former states.
    """

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.family = Family(Settings(catalog=Path(self.folder.name) / "catalog"))
        self.family.commit(*library("a", "b"))
        self.pinned: dict[str, str] = {}  # path → name
        self.refused: set[tuple[str, str]] = set()
        self.known: set[str] = set()
        self.past: list[tuple[dict[str, str], set[tuple[str, str]], set[str]]] = []
        self.future: list[tuple[dict[str, str], set[tuple[str, str]], set[str]]] = []

    def _now(self) -> tuple[dict[str, str], set[tuple[str, str]], set[str]]:
        return dict(self.pinned), set(self.refused), set(self.known)

    def _noted(self, before: Any, entry: object) -> None:
        if entry is not None:
            self.past.append(before)
            self.future.clear()

    def _person(self, name: str) -> int:
        if name not in self.known:
            before = self._now()
            number = {"Anna": 1, "Ben": 2, "Cleo": 3}[name]
            self.known.add(name)
            self._noted(before, self.family.act("name", number, name=name))
        return self.family.id(name)

    @rule(name=NAMES, who=WHO, photo=PHOTO)
    def pin(self, name: str, who: str, photo: int) -> None:
        person, path, before = self._person(name), f"/p/{who}{photo}.jpg", self._now()
        before = self._now()
        self.pinned[path] = name
        self.refused.discard((path, name))
        self._noted(before, self.family.act("is", person, faces=self.family.marks(path)))

    @rule(name=NAMES, who=WHO, photo=PHOTO)
    def refuse(self, name: str, who: str, photo: int) -> None:
        person, path = self._person(name), f"/p/{who}{photo}.jpg"
        before = self._now()
        if self.pinned.get(path) == name:
            del self.pinned[path]
        self.refused.add((path, name))
        self._noted(before, self.family.act("not", person, faces=self.family.marks(path)))

    @rule()
    def undo(self) -> None:
        entries = self.family.user.undo()
        assert bool(entries) == bool(self.past)
        if entries:
            self.future.append(self._now())
            self.pinned, self.refused, self.known = self.past.pop()

    @rule()
    def redo(self) -> None:
        entries = self.family.user.redo()
        assert bool(entries) == bool(self.future)
        if entries:
            self.past.append(self._now())
            self.pinned, self.refused, self.known = self.future.pop()

    @rule(anew=st.booleans())
    def cluster(self, anew: bool) -> None:
        self.family.follower.recluster() if anew else self.family.follow()

    @rule()
    def elsewhere(self) -> None:
        """An export says the same in a catalog that finds the same photos in another folder."""
        with (
            tempfile.TemporaryDirectory() as folder,
            Family(Settings(catalog=Path(folder) / "catalog")) as other,
        ):
            other.user.import_actions(self.family.user.exported())
            other.commit(*(msgspec.structs.replace(r, path=b"/q" + r.path[2:]) for r in library("a", "b")))
            for path, name in self.pinned.items():
                assert other.on("/q" + path[2:]) == [name]
            for path, name in self.refused:
                assert other.on("/q" + path[2:]) != [name]

    @invariant()
    def what_was_said_holds(self) -> None:
        if not hasattr(self, "family"):
            return
        assert {person.name for person in self.family.people.persons()} == self.known
        for path, name in self.pinned.items():
            assert self.family.on(path) == [name]
        for path, name in self.refused:
            assert self.family.on(path) != [name]

    def teardown(self) -> None:
        if hasattr(self, "family"):
            self.family.__exit__()
            self.folder.cleanup()


Sayings.TestCase.settings = hypothesis_settings(max_examples=6, stateful_step_count=12, deadline=None)
TestSayings = Sayings.TestCase
