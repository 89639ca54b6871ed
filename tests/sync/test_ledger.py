"""The ledger of a run: notes survive what a kill or a power loss leaves, and tell what must be put back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from catalogd.errors import UsageError
from catalogd.metadata.xmp import Value
from catalogd.sync.ledger import Entry, Ledger, runs, values_before
from catalogd.sync.packet import bag, key, language, same, struct, text

SUBJECT, TITLE = key("dc:subject"), key("dc:title")
PATH = b"/photos/b\xff\n.jpg.xmp"


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger.start(tmp_path)


def entry(before: Value | None, after: Value | None, name: str = SUBJECT, confirmed: bool = False) -> Entry:
    return Entry(PATH, before is None, {name: before}, {name: after}, confirmed)


def rows(value: Value | None) -> list[str] | None:
    return None if value is None else value.all()


def test_values_of_every_kind_and_paths_of_any_bytes_come_back_as_they_were_noted(ledger: Ledger) -> None:
    values = [
        text('quotes " and\nlines'),
        language("Å 🐕"),
        bag(["a", ""]),
        struct({"stArea:x": "0.5", "mwg-rs:RegionList": bag([struct({"mwg-rs:Name": "Ana"})])}),
        None,
    ]
    for value in values:
        ledger.note(entry(None, value))
        ledger.confirm(PATH, "", "digest")
    [(path, entries)] = ledger.entries()
    assert path == PATH
    assert [found.confirmed for found in entries] == [True] * len(values)
    assert all(same(found.after[SUBJECT], value) for found, value in zip(entries, values, strict=True))


def test_a_run_has_no_file_before_its_first_note_and_is_listed_by_time_until_it_is_closed(
    tmp_path: Path,
) -> None:
    first, empty = Ledger.start(tmp_path), Ledger.start(tmp_path)
    first.note(entry(None, bag(["dog"])))
    second = Ledger.start(tmp_path)
    second.note(entry(None, bag(["cat"])))
    assert not empty.file.exists()
    assert runs(tmp_path) == [first.run, second.run]
    assert Ledger.of_run(tmp_path, None).run == second.run
    second.close()
    assert Ledger.of_run(tmp_path, None).run == first.run
    with pytest.raises(UsageError, match="there is no run"):
        Ledger.of_run(tmp_path, second.run)
    first.close()
    with pytest.raises(UsageError, match="no run has written"):
        Ledger.of_run(tmp_path, None)


@pytest.mark.parametrize("cut", [1, 20, -3])
def test_a_torn_line_takes_no_other_one_along(ledger: Ledger, cut: int) -> None:
    ledger.note(entry(None, bag(["dog"])))
    ledger.confirm(PATH, "", "digest")
    whole = ledger.file.read_bytes()
    with ledger.file.open("ab") as file:
        file.write(whole.splitlines()[1][:cut])
    ledger.note(entry(bag(["dog"]), bag(["cat"])))
    [(_, entries)] = ledger.entries()
    assert [(rows(found.after[SUBJECT]), found.confirmed) for found in entries] == [
        (["dog"], True),
        (["cat"], False),
    ]


def test_of_notes_without_a_confirmation_the_last_counts(ledger: Ledger) -> None:
    """A write that was tried again, because somebody changed the sidecar meanwhile, is noted each time."""
    for name in ("dog", "cat", "cow"):
        ledger.note(entry(None, bag([name])))
    ledger.confirm(PATH, "", "digest")
    ledger.note(entry(bag(["cow"]), bag(["hen"])))
    [(_, entries)] = ledger.entries()
    assert [rows(found.after[SUBJECT]) for found in entries] == [["cow"], ["hen"]]


def test_a_value_that_is_still_ours_gets_the_one_before_over_several_writes() -> None:
    entries = [entry(None, text("a"), TITLE, True), entry(text("a"), text("b"), TITLE, True)]
    assert values_before(entries, {TITLE: text("b")}) == {TITLE: None}
    assert values_before(entries, {TITLE: text("a")}) == {TITLE: None}


@pytest.mark.parametrize("confirmed", [True, False])
def test_a_text_that_somebody_changed_stays(confirmed: bool) -> None:
    entries = [entry(text("old"), text("ours"), TITLE, confirmed)]
    assert values_before(entries, {TITLE: text("theirs")}) == {}
    assert values_before(entries, {}) == {}


@pytest.mark.parametrize(
    ("before", "after", "now", "back"),
    [
        (None, ["dog"], ["dog", "holiday"], ["holiday"]),
        (["old"], ["old", "dog"], ["new", "dog", "old"], ["new", "old"]),
        (["old"], ["dog"], ["dog", "new"], ["new", "old"]),
        (["old"], None, ["new"], ["new", "old"]),
        (["dog"], ["dog", "cat"], ["dog"], None),
        (None, ["dog"], ["DOG"], None),
    ],
)
def test_of_a_list_that_somebody_changed_only_our_entries_go(
    before: list[str] | None, after: list[str] | None, now: list[str], back: list[str] | None
) -> None:
    made: Callable[[list[str] | None], Value | None] = lambda items: bag(items) if items else None  # noqa: E731
    found = values_before([entry(made(before), made(after), SUBJECT, True)], {SUBJECT: bag(now)})
    assert {name: rows(value) for name, value in found.items()} == ({SUBJECT: back} if back else {})


def test_what_was_noted_and_not_written_takes_nothing_from_a_list() -> None:
    """A run was killed before it wrote; then somebody gave the photo the same keyword."""
    entries = [entry(None, bag(["dog"]))]
    assert values_before(entries, {SUBJECT: bag(["dog", "holiday"])}) == {}


def test_of_a_list_in_which_nothing_is_left_none_is_left() -> None:
    """An older run was taken back before: what it wrote is what stood there before this one."""
    later = entry(bag(["dog"]), bag(["dog", "cat"]), SUBJECT, True)
    assert values_before([later], {SUBJECT: bag(["cat"])}) == {SUBJECT: None}


def test_what_was_taken_back_is_no_entry_until_the_run_writes_there_again(ledger: Ledger) -> None:
    """A second undo took back what somebody had written after the first."""
    ledger.note(entry(None, bag(["dog"])))
    ledger.drop(PATH)
    assert list(ledger.entries()) == []
    ledger.confirm(PATH, "", "digest")  # the run was still on its way
    [(_, entries)] = ledger.entries()
    assert [found.confirmed for found in entries] == [True]
    ledger.drop(PATH)
    assert list(ledger.entries()) == []
    ledger.note(entry(None, bag(["cat"])))
    [(_, entries)] = ledger.entries()
    assert [rows(found.after[SUBJECT]) for found in entries] == [["cat"]]


def regions(*names: str, width: str = "640") -> Value:
    dimensions = struct({"stDim:w": width})
    rows = bag(struct({"mwg-rs:Name": name}) for name in names)
    return struct({"mwg-rs:AppliedToDimensions": dimensions, "mwg-rs:RegionList": rows})


@pytest.mark.parametrize(
    ("before", "after", "now", "back"),
    [
        (None, regions("a"), regions("a", "Ana"), regions("Ana")),
        (None, regions("a", "b"), regions("b"), None),
        (None, regions("a", "b"), regions("b", width="800"), regions(width="800")),
        (regions("Bob"), regions("Bob", "a"), regions("a", "Ana"), regions("Ana")),
        (regions("Bob"), regions("a"), regions("a", "Ana"), regions("Ana", "Bob")),
        (None, regions("a"), text("theirs"), text("theirs")),
        (None, struct({"stDim:w": "1"}), struct({"stDim:w": "2"}), struct({"stDim:w": "2"})),
    ],
)
def test_of_regions_that_somebody_changed_only_ours_go(
    before: Value | None, after: Value, now: Value, back: Value | None
) -> None:
    """One name that a person gave kept all of our regions in, and nobody knew any more whose they were."""
    name = key("mwg-rs:Regions")
    found = values_before([entry(before, after, name, True)], {name: now})
    assert same(found.get(name, now), back)
