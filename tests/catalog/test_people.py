"""Who is who: what a person said holds, whatever becomes of clusters, models, paths and catalogs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from catalogd.catalog import Catalog
from catalogd.catalog.people import UnknownPersonError
from catalogd.catalog.seeds import Seed
from catalogd.catalog.store import Store
from catalogd.records import Condition, Missing, Moved, Region, Stat
from catalogd.settings import Settings
from tests.catalog.family import PLACES, Family, library, shot


@pytest.fixture
def family(tmp_path: Path) -> Iterator[Family]:
    with Family(Settings(catalog=tmp_path / "catalog")) as family:
        yield family


def clusters(family: Family) -> dict[str, int]:
    return {path: family.cluster_at(path) for path in family.everywhere()}


# ── naming ────────────────────────────────────────────────────────────────────────────────────


def test_a_named_cluster_is_that_person_and_so_are_new_faces_like_it(family: Family) -> None:
    family.commit(*library("a", "b"))
    assert set(map(tuple, family.everywhere().values())) == {(None,)}
    family.name("/p/a0.jpg", "Anna Núñez")
    assert family.photos_of("anna nunez") == [f"/p/a{number}.jpg" for number in range(4)]
    family.commit(shot("/p/a9.jpg", "a", "b"))
    assert family.on("/p/a9.jpg") == ["Anna Núñez", None]
    assert family.on("/p/b0.jpg") == [None]
    assert family.listed() == [("Anna Núñez", 5), (f"person {family.cluster_at('/p/b0.jpg')}", 5)]


def test_a_name_is_found_by_alias_and_without_accents_when_nobody_else_has_it(family: Family) -> None:
    family.commit(*library("a", "b"))
    ana = family.name("/p/a0.jpg", "Aña")
    family.act("alias", ana, name="The Boss")
    assert family.id("THE  boss") == family.id("ana") == ana
    ben = family.name("/p/b0.jpg", "Ana")
    assert (family.id("ana"), family.id("aña")) == (ben, ana)
    assert family.people.names() == {"aña": ana, "the boss": ana, "ana": ben}
    family.act("name", ben, name="Aná")
    assert family.people.find("ana") is None
    with pytest.raises(UnknownPersonError, match=r"Aña or Aná|Aná or Aña"):
        family.people.who("ana")


def test_a_query_means_everybody_who_has_its_words_in_a_name(family: Family) -> None:
    family.commit(*library("a", "b"))
    family.name("/p/a0.jpg", "Anna Núñez")
    family.name("/p/b0.jpg", "Ben Nuñez")

    def meant(words: str) -> list[str]:
        return sorted(person.name for person in family.people.meant(words))

    assert meant("Anna Nunez") == meant("anna") == meant("AN* nun?z") == ["Anna Núñez"]
    assert meant("nunez") == meant("*") == ["Anna Núñez", "Ben Nuñez"]
    assert meant("ann") == meant("") == meant("anna ben") == []
    columns = family.catalog.columns()
    assert len(family.catalog.select([Condition("person", words="nuñez")], columns=columns)) == 8
    family.name("/p/b0.jpg", "Søren Ælf")
    assert meant("soren aelf") == meant("soren") == ["Søren Ælf"]


def test_nobody_of_that_name_tells_the_nearest(family: Family) -> None:
    family.commit(*library("a"))
    family.name("/p/a0.jpg", "Anna Schmidt")
    with pytest.raises(UnknownPersonError, match="did you mean Anna Schmidt"):
        family.people.who("Ana Schmid")
    with pytest.raises(UnknownPersonError, match="no person 9999"):
        family.people.who("9999")


def test_a_missing_photo_shows_nobody_until_it_is_back(family: Family) -> None:
    family.commit(*library("a", photos=2), shot("/p/x.jpg", people=("Xaver",)))
    family.name("/p/a0.jpg", "Anna")
    family.commit(Missing(b"/p/a0.jpg", 5.0), Missing(b"/p/x.jpg", 5.0))
    assert family.photos_of("Anna") == ["/p/a1.jpg"]
    assert family.photos_of("Xaver") == []
    family.commit(*library("a", photos=1))
    assert family.photos_of("Anna") == ["/p/a0.jpg", "/p/a1.jpg"]


# ── single faces ──────────────────────────────────────────────────────────────────────────────


def test_not_this_person_takes_one_face_away_and_is_again_takes_it_back(family: Family) -> None:
    family.commit(*library("a"))
    anna = family.name("/p/a0.jpg", "Anna")
    assert family.act("not", anna, faces=family.marks("/p/a1.jpg"))
    assert (family.on("/p/a1.jpg"), family.on("/p/a2.jpg")) == ([None], ["Anna"])
    assert family.act("not", anna, faces=family.marks("/p/a1.jpg")) is None
    assert family.act("is", anna, faces=family.marks("/p/a1.jpg"))
    assert family.on("/p/a1.jpg") == ["Anna"]
    assert family.act("is", anna, faces=family.marks("/p/a1.jpg")) is None
    assert family.act("not", anna, faces=family.marks("/p/a1.jpg"))
    assert family.on("/p/a1.jpg") == [None]


def test_a_pinned_face_is_that_person_in_anybodys_cluster(family: Family) -> None:
    family.commit(*library("a", "b"))
    family.name("/p/a0.jpg", "Anna")
    ben = family.name("/p/b0.jpg", "Ben")
    family.act("is", ben, faces=family.marks("/p/a1.jpg"))
    assert (family.on("/p/a1.jpg"), family.on("/p/a0.jpg")) == (["Ben"], ["Anna"])
    family.follow()
    assert (family.on("/p/a1.jpg"), family.on("/p/a0.jpg")) == (["Ben"], ["Anna"])


def test_split_makes_some_faces_another_person(family: Family) -> None:
    family.commit(*library("a", photos=6))
    anna = family.name("/p/a0.jpg", "Anna")
    twin = family.id_of("/p/a1.jpg")
    family.act(
        "split",
        twin,
        other=anna,
        name="Berta",
        faces=(*family.marks("/p/a1.jpg"), *family.marks("/p/a2.jpg")),
    )
    assert family.photos_of("Berta") == ["/p/a1.jpg", "/p/a2.jpg"]
    assert len(family.photos_of("Anna")) == 4
    family.follower.recluster()
    assert family.photos_of("Berta")[:2] == ["/p/a1.jpg", "/p/a2.jpg"]
    assert not set(family.photos_of("Berta")) & set(family.photos_of("Anna"))


def test_a_pinned_face_among_strangers_names_no_stranger(family: Family) -> None:
    family.commit(*library("a", "s"))
    anna = family.name("/p/a0.jpg", "Anna")
    family.act("is", anna, faces=family.marks("/p/s0.jpg"))
    assert [family.on(f"/p/s{number}.jpg") for number in range(4)] == [["Anna"], [None], [None], [None]]


# ── merging ───────────────────────────────────────────────────────────────────────────────────


def test_merged_people_are_one_with_both_names_until_it_is_undone(family: Family) -> None:
    family.commit(*library("a", "b"))
    anna, other = family.name("/p/a0.jpg", "Anna"), family.name("/p/b0.jpg", "Nana")
    assert family.act("merge", anna, other=other)
    assert family.act("merge", anna, other=other) is None
    assert family.id("nana") == anna
    assert len(family.photos_of("Anna")) == 8
    assert np.array_equal(family.people.photos_of(other), family.people.photos_of(anna))
    family.user.put_anchors(family.people.more_anchors())
    family.follow()
    family.user.undo()
    assert (family.id("Anna"), family.id("Nana")) == (anna, other)
    assert (len(family.photos_of("Anna")), len(family.photos_of("Nana"))) == (4, 4)


# ── strangers and those left out ──────────────────────────────────────────────────────────────


def test_a_cluster_that_is_hidden_or_ignored_stays_so_without_a_name(family: Family) -> None:
    family.commit(*library("a", "b"))
    for path, kind in (("/p/a0.jpg", "hide"), ("/p/b0.jpg", "ignore")):
        one = family.people.who(str(family.cluster_at(path)))
        family.act(kind, 1 + family.id_of(path), faces=tuple(family.people.anchors_of(one)))
    family.follower.recluster()
    one, other = (family.people.who(str(family.cluster_at(path))) for path in ("/p/a0.jpg", "/p/b0.jpg"))
    assert one.person is not None
    assert other.person is not None
    assert (one.person.hidden, one.person.ignored) == (True, False)
    assert (other.person.hidden, other.person.ignored) == (False, True)
    assert family.on("/p/a0.jpg") == [None]


# ── it is sticky ──────────────────────────────────────────────────────────────────────────────


def said_of(family: Family) -> None:
    """Two people named, one face of Anna refused, one of a stranger pinned as Ben."""
    family.commit(*library("a", "b", "s"), shot("/p/both.jpg", "a", "b"))
    anna, ben = family.name("/p/a0.jpg", "Anna"), family.name("/p/b0.jpg", "Ben")
    family.act("not", anna, faces=family.marks("/p/a1.jpg"))
    family.act("is", ben, faces=family.marks("/p/s1.jpg"))
    family.follow()


@pytest.mark.parametrize("what", ["recluster", "rebuild", "model", "move", "reopen"])
def test_what_a_person_said_survives(family: Family, what: str) -> None:
    said_of(family)
    before = family.everywhere()
    assert before["/p/both.jpg"] == ["Anna", "Ben"]
    if what == "recluster":
        family.follower.recluster()
        strangers = ["/p/s0.jpg", "/p/s2.jpg", "/p/s3.jpg"]  # like a pinned face: they may come to its person
        assert family.everywhere().keys() == before.keys()
        before |= {path: family.on(path) for path in strangers}
    elif what == "rebuild":
        family.follower.rebuild()
    elif what == "model":
        renewed = [*library("a", "b", "s"), shot("/p/both.jpg", "a", "b")]
        paths = {record.name: record for record in renewed}
        names = {path: path[3] for path in paths if path != "/p/both.jpg"}
        family.commit(*(shot(path, who, model="faces 2") for path, who in names.items()))
        family.commit(shot("/p/both.jpg", "a", "b", model="faces 2"))
    elif what == "move":
        for path in list(before):
            family.commit(Moved(family.id_of(path), path.replace("/p/", "/q/").encode(), Stat(1000, 1)))
        before = {path.replace("/p/", "/q/"): names for path, names in before.items()}
    else:
        with Catalog.open(family.settings.catalog, family.settings) as other:
            faces = {record.name: other.people.faces_of(record.photo_id) for record in other.iter_records()}
        assert {path: [face.name for face in found] for path, found in faces.items()} == before
    assert family.everywhere() == before


def test_an_export_names_the_same_photos_in_another_catalog_and_twice_is_once(
    family: Family, tmp_path: Path
) -> None:
    said_of(family)
    actions = family.user.exported()
    with Family(Settings(catalog=tmp_path / "other")) as other:
        imported = other.user.import_actions(actions)  # before it has seen a photo
        assert imported.entry is not None
        assert not imported.left_out
        records = [*library("a", "b", "s"), shot("/p/both.jpg", "a", "b")]
        other.commit(*(msgspec.structs.replace(r, path=r.path.replace(b"/p/", b"/disk/")) for r in records))
        expected = {path.replace("/p/", "/disk/"): names for path, names in family.everywhere().items()}
        assert other.everywhere() == expected
        again = other.user.import_actions(actions)
        assert (again.entry, again.known) == (None, len(actions))
        other.user.undo()
        assert other.people.persons() == []
        other.user.redo()
        assert other.everywhere() == expected


def test_a_cluster_that_grew_is_known_again_elsewhere_by_the_anchors_of_today(
    family: Family, tmp_path: Path
) -> None:
    family.commit(*library("a", photos=3))
    family.name("/p/a0.jpg", "Anna")
    family.commit(*library("a", photos=60))
    more = family.people.more_anchors()
    assert len(more[family.id("Anna")]) == 60
    family.user.put_anchors(more)
    assert len(family.user.said().anchors) == 60
    assert len(family.user.journal()) == 1


def test_an_imported_name_that_somebody_has_here_is_that_person(family: Family, tmp_path: Path) -> None:
    family.commit(*library("a"))
    family.name("/p/a0.jpg", "Anna")
    with Family(Settings(catalog=tmp_path / "other")) as other:
        other.commit(*library("b"))
        mine = other.name("/p/b0.jpg", "anna")
        other.act("alias", mine, name="Annie")
        other.user.import_actions(family.user.exported())
        other.commit(*library("a"))
        assert other.photos_of("Anna") == sorted(f"/p/{who}{n}.jpg" for who in "ab" for n in range(4))
        assert other.id("annie") == mine


def test_few_anchors_that_strayed_into_a_large_cluster_do_not_name_it(family: Family) -> None:
    family.commit(*library("s", photos=120))
    [stray] = family.marks("/p/s7.jpg")
    away = msgspec.structs.replace(stray, cluster_id=999)
    family.act("name", 5, name="Anna", faces=(away,))
    assert family.photos_of("Anna") == ["/p/s7.jpg"]


def test_a_tie_is_nobodys_cluster_and_said(family: Family) -> None:
    family.commit(*library("a"))
    for number, (path, name) in enumerate((("/p/a0.jpg", "Anna"), ("/p/a1.jpg", "Ben"))):
        family.act("name", 10 + number, name=name, faces=family.marks(path))
    assert [family.on(f"/p/a{number}.jpg") for number in range(3)] == [["Anna"], ["Ben"], [None]]
    assert family.people.identities().undecided == {family.cluster_at("/p/a0.jpg"): (10, 11)}


# ── names in files ────────────────────────────────────────────────────────────────────────────


def region(name: str, place: int = 0) -> Region:
    x, y, width, height = PLACES[place]
    return Region((x - 0.01, y - 0.05, width + 0.02, height + 0.08), name)


def test_names_in_files_name_faces_and_their_clusters(family: Family) -> None:
    family.commit(*library("a"), shot("/p/x.jpg", "a", "b", regions=(region("Anna"), region("Ben", 1))))
    assert family.on("/p/x.jpg") == ["Anna", "Ben"]
    assert family.photos_of("Anna") == [*(f"/p/a{number}.jpg" for number in range(4)), "/p/x.jpg"]
    [person] = [person for person in family.people.persons() if person.name == "Anna"]
    assert person.origin == "file"


def test_a_name_in_a_file_with_signs_that_none_has_is_the_person_of_that_name(family: Family) -> None:
    """A second person of that name came of it, who took the name from the one whom the owner had named."""
    family.commit(*library("a", "b"))
    anna = family.name("/p/a0.jpg", "Anna")
    family.commit(shot("/p/b9.jpg", "b", regions=(region("Anna\u200b\x07"),)))
    assert (family.id("Anna"), family.on("/p/b9.jpg")) == (anna, ["Anna"])
    assert [person.name for person in family.people.persons()] == ["Anna"]


def test_a_face_refused_to_the_owner_of_its_cluster_is_listed_as_no_cluster(family: Family) -> None:
    """Until a run took it out, a "person 1" was listed that could not be shown: 1 is the owner's number."""
    family.commit(*library("a"))
    anna = family.name("/p/a0.jpg", "Anna")
    family.act("not", anna, faces=family.marks("/p/a1.jpg"))
    assert family.listed() == [("Anna", 3)]


def test_a_name_without_a_box_is_the_only_face_or_only_the_photos(family: Family) -> None:
    family.commit(shot("/p/one.jpg", "a", people=("Anna",)), shot("/p/two.jpg", "a", "b", people=("Ben",)))
    assert family.on("/p/one.jpg") == ["Anna"]
    assert family.on("/p/two.jpg")[1] is None
    assert family.photos_of("Ben") == ["/p/two.jpg"]
    family.commit(shot("/p/two.jpg", "a", "b"))
    assert family.people.find("Ben") is None


def test_what_a_person_said_outranks_a_file(family: Family) -> None:
    named = [shot(f"/p/a{number}.jpg", "a", regions=(region("Ana"),)) for number in range(4)]
    family.commit(*named)
    real = family.name("/p/a0.jpg", "Berta") if family.on("/p/a0.jpg") == [None] else 0
    assert real == 0
    anna = 77
    family.act("name", anna, name="Ana", origin="file")
    family.act("name", anna, name="Anna", keeps_name=True)
    assert family.on("/p/a0.jpg") == ["Anna"]
    assert [person.origin for person in family.people.persons()] == ["user"]
    family.act("not", anna, faces=family.marks("/p/a1.jpg"))
    assert (family.on("/p/a1.jpg"), family.on("/p/a2.jpg")) == ([None], ["Anna"])
    family.act("forget", anna, name="Ana")
    assert family.people.find("Ana") is None
    assert family.on("/p/a2.jpg") == [None]


def test_other_programs_give_names_through_the_same_door(family: Family) -> None:
    family.commit(*library("a"))
    family.user.put_seeds("lightroom", {family.id_of("/p/a0.jpg"): [Seed("Anna", PLACES[0])]})
    assert len(family.photos_of("Anna")) == 4
    family.user.put_seeds("lightroom", {family.id_of("/p/a0.jpg"): []})
    assert family.people.find("Anna") is None


def test_names_follow_what_is_committed_and_can_be_made_again(family: Family) -> None:
    family.commit(shot("/p/1.jpg", "a", people=("Anna",)))
    family.catalog.commit([shot("/p/2.jpg", "b", people=("Ben",))], b"profile1")
    assert [found for found in family.catalog.check(deep=True) if found.store == "names"] == []
    family.catalog.follow_names()
    assert sorted(person.name for person in family.people.persons()) == ["Anna", "Ben"]
    with Store(family.settings.catalog, write=True) as store:
        store.write(lambda reading: reading.clear("seeds"))
    assert len([found for found in family.catalog.check(deep=True) if found.store == "names"]) == 2
    family.catalog.repair()
    assert [found for found in family.catalog.check(deep=True) if found.store == "names"] == []


# ── forgetting ────────────────────────────────────────────────────────────────────────────────


def test_forgotten_people_have_no_name_but_stay_together(family: Family) -> None:
    family.commit(*library("a", "b"))
    anna = family.name("/p/a0.jpg", "Anna")
    family.act("forget", anna, name="Anna")
    assert family.people.find("Anna") is None
    assert len(family.people.photos_of(anna)) == 4
    family.user.undo()
    assert family.id("Anna") == anna


def test_what_is_erased_stands_nowhere(family: Family) -> None:
    named = shot("/p/x.jpg", "a", regions=(region("Annabella"),))
    family.commit(*library("a", "b"), named)
    anna, ben = family.name("/p/b0.jpg", "Zacharias"), family.id("Annabella")
    assert (family.people.find("Annabella") or named).origin == "file"  # type: ignore[union-attr]
    family.act("name", 70, name="Annabella", faces=family.marks("/p/x.jpg"))
    family.act("alias", 70, name="Bellissima")
    family.user.erase(70)
    assert family.people.find("Annabella") is None
    assert family.people.find("Zacharias") is not None
    kept = json.dumps(msgspec.to_builtins(family.user.journal(), builtin_types=(), enc_hook=str))
    assert "Annabella" not in kept
    assert "Bellissima" not in kept
    assert "Zacharias" in kept
    assert (family.user.undo(), family.user.redo()) == ([], [])
    assert (anna, ben) != (0, 0)
