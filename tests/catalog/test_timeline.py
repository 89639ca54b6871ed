"""The time line in the store: it follows what is committed, whatever comes between, and can be made again."""

from __future__ import annotations

import random
from pathlib import Path

import lmdb
import numpy as np
import pytest

from catalogd.catalog import Catalog, arrangement, timeline
from catalogd.catalog.stems import stem_of
from catalogd.catalog.store import KEPT_COMMITS, Store, id_bytes
from catalogd.records import Change, Facts, Missing, Moved, Output, Place, Quality, Record, Stat
from catalogd.settings import Settings
from tests.catalog.photos import PROFILE, photo, vector

TABLES = ("moments", *timeline.GROUP_TABLES)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(catalog=tmp_path / "catalog")


@pytest.fixture
def catalog(settings: Settings):
    with Catalog.open(settings.catalog, settings, write=True) as catalog:
        yield catalog


def shot(path: str, taken_at: str | None = "2023-06-01T10:00:00", seed: int = 1, **facts: object) -> Record:
    kind = "raw" if path.endswith((".CR3", ".dng")) else "jpeg"
    return photo(
        path,
        facts=Facts(kind, 40, 30, camera="Canon R6", taken_at=taken_at, **facts),  # type: ignore[arg-type]
        outputs={"embedder": Output("embedder 1", embedding=vector(seed, 128))},
    )


def commit(catalog: Catalog, *changes: Change) -> None:
    catalog.commit(changes, PROFILE)
    catalog.follow_timeline(force=True)
    assert not [found for found in catalog.check(deep=True) if found.store == "timeline"]


def id_of(catalog: Catalog, path: str) -> int:
    return catalog.photo_id_of(path.encode()) or 0


def stack_at(catalog: Catalog, path: str) -> list[str]:
    """The paths of the stack that the photo at `path` is in, its cover first."""
    found = catalog.timeline.stack_of(id_of(catalog, path))
    return names(catalog, found.cover, found.photo_ids) if found else []


def names(catalog: Catalog, cover: int, photo_ids: list[int]) -> list[str]:
    rest = sorted(name_of(catalog, photo_id) for photo_id in photo_ids if photo_id != cover)
    return [name_of(catalog, cover), *rest]


def name_of(catalog: Catalog, photo_id: int) -> str:
    record = catalog.record(photo_id)
    assert record is not None
    return record.name


def tables(settings: Settings) -> dict[str, list[tuple[bytes, bytes]]]:
    with Store(settings.catalog) as store, store.snapshot() as reading:
        return {table: list(reading.rows(table)) for table in TABLES}


# ── following ─────────────────────────────────────────────────────────────────────────────────


def test_raw_and_jpeg_come_apart_and_together(catalog: Catalog) -> None:
    commit(catalog, shot("/a/IMG_1.JPG"))
    assert stack_at(catalog, "/a/IMG_1.JPG") == []
    commit(catalog, shot("/a/img_1.CR3"))
    both = ["/a/IMG_1.JPG", "/a/img_1.CR3"]
    assert stack_at(catalog, "/a/IMG_1.JPG") == stack_at(catalog, "/a/img_1.CR3") == both
    commit(catalog, Missing(b"/a/IMG_1.JPG", 5.0))
    assert stack_at(catalog, "/a/img_1.CR3") == []
    assert catalog.timeline.photos_of("session", catalog.timeline.sessions()[0].session_id) == [
        id_of(catalog, "/a/img_1.CR3")
    ]


def test_a_photo_that_moves_leaves_its_stack_and_may_join_another(catalog: Catalog) -> None:
    commit(catalog, shot("/a/IMG_1.JPG"), shot("/a/IMG_1.CR3"), shot("/b/IMG_1.CR3", "2023-06-01T10:00:01"))
    commit(catalog, Moved(id_of(catalog, "/a/IMG_1.JPG"), b"/b/IMG_1.JPG", Stat(1000, 1)))
    assert stack_at(catalog, "/a/IMG_1.CR3") == []
    assert stack_at(catalog, "/b/IMG_1.JPG") == ["/b/IMG_1.JPG", "/b/IMG_1.CR3"]


def test_an_old_photo_between_two_sessions_joins_them(catalog: Catalog) -> None:
    commit(catalog, shot("/a/1.jpg", "2023-06-01T08:00:00"), shot("/a/2.jpg", "2023-06-01T18:00:00"))
    morning, evening = catalog.timeline.sessions()
    assert catalog.timeline.session_of(id_of(catalog, "/a/2.jpg")) == evening
    commit(catalog, shot("/a/0.jpg", "2023-06-01T13:00:00+02:00"))
    [day] = catalog.timeline.sessions()
    assert (day.session_id, day.photos) == (morning.session_id, 3)
    assert catalog.timeline.session_of(id_of(catalog, "/a/2.jpg")) == day
    assert catalog.timeline.photos_of("session", evening.session_id) == []


def test_a_burst_is_pictures_whose_embeddings_are_alike(catalog: Catalog) -> None:
    commit(
        catalog,
        shot("/a/1.jpg", "2023-06-01T10:00:00.1", seed=1),
        shot("/a/2.jpg", "2023-06-01T10:00:00.6", seed=1),
        shot("/a/3.jpg", "2023-06-01T10:00:01.1", seed=2),
    )
    burst = catalog.timeline.burst_of(id_of(catalog, "/a/1.jpg"))
    assert burst is not None
    assert names(catalog, burst.cover, burst.photo_ids)[1:] == sorted(
        {"/a/1.jpg", "/a/2.jpg"} - {name_of(catalog, burst.cover)}
    )
    assert catalog.timeline.burst_of(id_of(catalog, "/a/3.jpg")) is None
    assert list(catalog.timeline.bursts()) == [burst]


def test_another_rating_changes_the_cover_alone(catalog: Catalog) -> None:
    commit(catalog, shot("/a/1.jpg"), shot("/a/1.CR3"))
    before = catalog.timeline.stack_of(id_of(catalog, "/a/1.jpg"))
    commit(catalog, shot("/a/1.jpg"), shot("/a/1.CR3", rating=5))
    after = catalog.timeline.stack_of(id_of(catalog, "/a/1.jpg"))
    assert before is not None
    assert after is not None
    assert (after.stack_id, after.photo_ids) == (before.stack_id, before.photo_ids)
    assert stack_at(catalog, "/a/1.jpg") == ["/a/1.CR3", "/a/1.jpg"]


def test_a_busy_writer_pays_nothing_and_an_idle_one_rests_between(catalog: Catalog) -> None:
    catalog.commit([shot("/a/1.jpg")], PROFILE)
    catalog.follow_timeline(idle=False)
    assert catalog.timeline.sessions() == []
    catalog.follow_timeline(idle=True)
    assert len(catalog.timeline.sessions()) == 1
    catalog.commit([shot("/a/2.jpg", "2024-06-01T10:00:00")], PROFILE)
    catalog.follow_timeline(idle=True)
    assert len(catalog.timeline.sessions()) == 1
    catalog.follow_timeline(force=True)
    assert len(catalog.timeline.sessions()) == 2


def test_nothing_new_writes_nothing(catalog: Catalog, settings: Settings) -> None:
    """A disk that sleeps is not woken."""
    commit(catalog, shot("/a/1.jpg"))
    before = (settings.catalog / "store" / "data.mdb").read_bytes()
    catalog.follow_timeline(force=True)
    assert (settings.catalog / "store" / "data.mdb").read_bytes() == before


def test_following_ends_where_a_rebuild_from_the_records_does(catalog: Catalog, settings: Settings) -> None:
    chance = random.Random(3)
    for _ in range(12):
        changes: list[Change] = []
        for _ in range(chance.randrange(1, 8)):
            path = f"/{chance.choice('ab')}/{chance.randrange(9)}.{chance.choice(['CR3', 'jpg', 'heic'])}"
            if id_of(catalog, path) and chance.random() < 0.4:
                changes.append(Missing(path.encode(), 5.0))
            else:
                day, second = chance.randrange(1, 4), chance.randrange(3)
                place = Place("IT", "Italy", city=chance.choice(["Rome", "Florence"]))
                taken_at = None if chance.random() < 0.1 else f"2023-06-0{day}T10:00:0{second}"
                at = {"latitude": 41.9, "longitude": 12.5, "place": place} if chance.random() < 0.5 else {}
                changes.append(shot(path, taken_at, seed=1, rating=chance.randrange(6), **at))
        commit(catalog, *changes)
    followed = tables(settings)
    assert all(followed.values())
    catalog.rebuild_timeline()
    assert tables(settings) == followed


# ── what may happen in between ────────────────────────────────────────────────────────────────


def test_a_crash_between_taking_in_and_arranging_is_made_up_for(settings: Settings) -> None:
    with Catalog.open(settings.catalog, settings, write=True) as catalog:
        commit(catalog, shot("/a/1.jpg"))
        catalog.commit([shot("/a/1.CR3")], PROFILE)
    with Store(settings.catalog, write=True) as store:
        assert store.write(timeline._take_in_changes)
    with Catalog.open(settings.catalog, settings, write=True) as catalog:
        assert not [found for found in catalog.check() if found.store == "timeline"]
        assert stack_at(catalog, "/a/1.jpg") == []
        catalog.follow_timeline(idle=True)
        assert stack_at(catalog, "/a/1.jpg") == ["/a/1.jpg", "/a/1.CR3"]


def test_a_crash_while_all_is_made_again_begins_again(
    catalog: Catalog, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(catalog, shot("/a/1.jpg"), shot("/a/1.CR3"))
    with monkeypatch.context() as patch:
        patch.setattr(timeline, "_begin", lambda reached, reading: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            catalog.rebuild_timeline()
    assert [found.text for found in catalog.check() if found.store == "timeline"] == ["there is no time line"]
    assert stack_at(catalog, "/a/1.jpg") == ["/a/1.jpg", "/a/1.CR3"], "the former one is read meanwhile"
    commit(catalog, shot("/b/1.jpg"))


def test_a_change_log_that_was_trimmed_makes_it_again(catalog: Catalog, settings: Settings) -> None:
    commit(catalog, shot("/a/1.jpg"))
    with Store(settings.catalog, write=True) as store:
        store.set_mark(timeline.MARK, None)
        for number in range(KEPT_COMMITS + 3):
            catalog.commit([shot(f"/b/{number}.jpg")], PROFILE)
        catalog.follow_text(force=True)
        catalog.follow_faces(force=True)
        store.set_mark(timeline.MARK, 1)
        assert store.changes_since(KEPT_COMMITS)
        with pytest.raises(LookupError):
            store.changes_since(1)
    catalog.follow_timeline(force=True)
    assert catalog.timeline.sessions()[0].photos == KEPT_COMMITS + 4
    assert catalog.check(deep=True) == []


def test_other_rules_arrange_anew(settings: Settings) -> None:
    with Catalog.open(settings.catalog, settings, write=True) as catalog:
        commit(catalog, shot("/a/1.jpg", "2023-06-01T08:00:00"), shot("/a/2.jpg", "2023-06-01T10:00:00"))
        assert len(catalog.timeline.sessions()) == 1
    other = Settings(catalog=settings.catalog, session_gap_s=3600.0)
    with Catalog.open(settings.catalog, other, write=True) as catalog:
        catalog.follow_timeline(idle=True)
        assert len(catalog.timeline.sessions()) == 2


def test_a_catalog_of_an_older_catalogd_is_read_and_then_followed(settings: Settings) -> None:
    with Catalog.open(settings.catalog, settings, write=True) as catalog:
        commit(catalog, shot("/a/1.jpg"), shot("/a/1.CR3"))
    with lmdb.open(str(settings.catalog / "store"), max_dbs=20) as environment:
        handles = {table: environment.open_db(table.encode()) for table in (*TABLES, "meta")}
        with environment.begin(write=True) as transaction:
            for table in TABLES:
                transaction.drop(handles[table])
            for name in ("mark:timeline", timeline.ARRANGED, timeline.ARRANGED_BY, timeline.MOMENTS_BY):
                transaction.delete(name.encode(), db=handles["meta"])
    with Catalog.open(settings.catalog, settings) as catalog:
        assert catalog.timeline.stack_of(id_of(catalog, "/a/1.jpg")) is None
        assert (catalog.timeline.sessions(), list(catalog.timeline.stacks())) == ([], [])
        assert catalog.timeline.photos_of("stack", 1) == []
        assert [found.text for found in catalog.check() if found.store == "timeline"] == [
            "there is no time line"
        ]
    with Catalog.open(settings.catalog, settings, write=True) as catalog:
        catalog.follow_timeline(idle=True)
        assert len(list(catalog.timeline.stacks())) == 1


# ── check and repair ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("damage", ["lost", "strange", "cut"])
def test_every_damage_is_seen_and_repaired(
    catalog: Catalog, settings: Settings, table: str, damage: str
) -> None:
    commit(catalog, shot("/a/1.jpg"), shot("/a/1.CR3"), shot("/a/2.jpg", "2024-01-01T00:00:00"))
    catalog.follow(force=True)
    assert catalog.check(deep=True) == []
    before = tables(settings)
    with Store(settings.catalog, write=True) as store:
        key, value = before[table][0]

        def work(reading):
            if damage == "lost":
                reading.delete(table, key)
            elif damage == "strange":
                reading.put(table, key[:-8] + id_bytes(77), value)
            else:
                reading.put(table, key, value[:-1] if value else b"?")

        store.write(work)
    assert {found.store for found in catalog.check(deep=True)} == {"timeline"}
    catalog.repair()
    assert catalog.check(deep=True) == []
    assert tables(settings) == before


def test_a_moment_of_an_older_version_of_a_photo_is_seen_by_a_deep_check(
    catalog: Catalog, settings: Settings
) -> None:
    commit(catalog, shot("/a/1.jpg"))
    catalog.follow(force=True)
    with Store(settings.catalog, write=True) as store:

        def work(reading):
            (key, value), *_ = reading.rows("moments")
            row = np.frombuffer(value, arrangement.MOMENT).copy()
            row["pixels"] += 1
            reading.put("moments", key, row.tobytes())

        store.write(work)
    assert catalog.check() == []
    assert [found.text for found in catalog.check(deep=True)] == ["the time line has an older version"]


# ── moments ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "stem", "is_edited"),
    [
        (b"IMG_1234.CR3", b"img_1234", False),
        (b"img_E1234.jpg", b"img_1234", True),
        (b"img_east.jpg", b"img_east", False),
        (b"DSC1-Edit.tif", b"dsc1", True),
        (b"DSC1-Edit-2.tif", b"dsc1", True),
        (b"DSC1-edited.jpg", b"dsc1", True),
        (b"a-editor.jpg", b"a-editor", False),
        (b"PXL_1~2.jpg", b"pxl_1", True),
        (b"PXL_1.RAW-01.MP.COVER.jpg", b"pxl_1", False),
        (b"PXL_1.RAW-02.ORIGINAL.dng", b"pxl_1", False),
        (b".jpg", b".jpg", False),
        (b"-edit.jpg", b"-edit", False),
        (b"caf\xe9.b.JPG", b"caf\xe9.b", False),
        (b"none", b"none", False),
    ],
)
def test_the_files_of_one_picture_share_a_stem(name: bytes, stem: bytes, is_edited: bool) -> None:
    assert stem_of(name) == (stem, is_edited)


@pytest.mark.parametrize(
    ("taken_at", "seconds"),
    [
        ("1970-01-02T00:00:01", 86_401.0),
        ("1970-01-02T00:00:01.25+02:00", 86_401.25),
        ("0001-01-01T00:00:00", -62_135_596_800.0),
    ],
)
def test_time_is_that_of_the_cameras_clock(taken_at: str, seconds: float) -> None:
    assert timeline.clock_s(taken_at) == seconds


@pytest.mark.parametrize("taken_at", [None, "", "yesterday"])
def test_a_time_that_is_not_known_is_nan(taken_at: str | None) -> None:
    assert np.isnan(timeline.clock_s(taken_at))


def test_extreme_facts_fit_into_a_moment(catalog: Catalog) -> None:
    facts = Facts(
        "jpeg", 1 << 40, 1 << 40, rating=99, taken_at="9999-12-31T23:59:59", latitude=90.0, longitude=180.0
    )
    quality = {"quality": Output("quality 1", quality=Quality(50, 40, 0.5, 0.3, 0.01, 0.02, 1.5, 30))}
    commit(catalog, photo("/a/1.jpg", facts=facts, outputs=quality))
    with catalog._store.snapshot() as reading:
        _, [row] = timeline.read_moments(reading)
    assert (row["pixels"], row["rating"], row["sharpness"]) == (0xFFFFFFFF, 5, 50.0)
    assert not row["sketch"].any()


def test_cosines_of_sketches_are_near_those_of_the_embeddings() -> None:
    numbers = np.random.default_rng(5)
    first = numbers.normal(size=(400, 700))
    for cosine in (0.2, 0.7, 0.95):
        second = cosine * first + np.sqrt(1 - cosine**2) * numbers.normal(size=first.shape)
        a, b = (timeline.sketches(half.astype("<f2"), b"space--1").astype(float) for half in (first, second))
        found = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
        assert found.mean() == pytest.approx(cosine, abs=0.03)
        assert found.std() < 1.3 * (1 - cosine**2) / 8


def test_sketches_of_two_spaces_are_not_alike() -> None:
    half = np.random.default_rng(5).random((50, 640)).astype("<f2")
    a, b = (timeline.sketches(half, space).astype(float) for space in (b"space--1", b"space--2"))
    assert (np.abs((a * b).sum(1)) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).mean() < 0.3


def test_the_film_of_a_live_photo_lies_beside_it(tmp_path: Path) -> None:
    (tmp_path / "IMG_1.MOV").touch()
    (tmp_path / "b.c.mp4").touch()
    folder = bytes(tmp_path)
    assert timeline.film_beside(folder + b"/IMG_1.HEIC") == folder + b"/IMG_1.MOV"
    assert timeline.film_beside(folder + b"/b.c.jpg") == folder + b"/b.c.mp4"
    assert timeline.film_beside(folder + b"/IMG_2.HEIC") is None
