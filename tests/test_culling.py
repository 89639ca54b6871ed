"""Moments, ranks and series: on made shots where rules are asked, on real small photos where pixels are."""

from __future__ import annotations

import datetime
import itertools
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from catalogd import culling
from catalogd.catalog import Catalog
from catalogd.culling import ALTERNATE, PICK, PROTECTED, Moment, cull, protected_series
from catalogd.culling.alignment import Outline
from catalogd.culling.likeness import Embeddings
from catalogd.culling.moments import moments
from catalogd.culling.ranking import rank, subject_sharpness
from catalogd.culling.series import Series, find_series
from catalogd.culling.shots import Shot, shot_of
from catalogd.duplicates import BURST, NEAR, Duplicates
from catalogd.records import Face, Facts, ObjectBox, Output, Quality, Record, Stat
from catalogd.settings import Settings
from tests.duplicates.library import index
from tests.factory import scene, write_jpeg

START = datetime.datetime(2024, 5, 1, 10)
SOFT, SHARP = 20.0, 80.0


def quality(sharpness: float = 50.0, tiles: np.ndarray | None = None, **values: Any) -> Quality:
    plain = {"brightness": 0.5, "contrast": 0.5, "clipped_low": 0.0, "clipped_high": 0.0, "noise": 1.0}
    packed = None if tiles is None else tiles.astype(np.uint8).tobytes()
    return Quality(sharpness, sharpness / 2, colourfulness=30.0, sharpness_tiles=packed, **(plain | values))


def record(number: int, at_s: float | None = None, **values: Any) -> Record:
    """A photo of one camera, taken `at_s` seconds after START."""
    facts: dict[str, Any] = {"camera": "Camera", "focal_mm": 35.0, "aperture": 8.0, "iso": 100}
    facts["exposure_s"] = 0.01
    outputs = {}
    for name in ("quality", "faces", "objects", "signature"):
        if name in values:
            outputs[name] = Output(name, **{name: values.pop(name)})
    if at_s is not None:
        facts["taken_at"] = (START + datetime.timedelta(seconds=at_s)).isoformat(timespec="milliseconds")
    path = b"/photos/IMG_%04d.jpg" % number
    said = Facts("jpeg", 6000, 4000, **(facts | values))
    return Record(path, Stat(1, 1), b"%016d" % number, said, outputs, photo_id=number)


def shot(number: int, at_s: float | None = None, burst: int = 0, **values: Any) -> Shot:
    return shot_of([record(number, at_s, **values)], burst)


def alike(*vectors: tuple[float, float]) -> Embeddings:
    """Embeddings of the photos 1, 2, …"""
    matrix = np.array(vectors, np.float16).reshape(len(vectors), 2)
    return Embeddings(np.arange(1, len(vectors) + 1), matrix)


def turned(cosine: float) -> tuple[float, float]:
    return cosine, math.sqrt(1 - cosine * cosine)


def numbers(groups: list[list[Shot]]) -> list[list[int]]:
    return [[one.photo.photo_id for one in group] for group in groups]


def unseen(shot: Shot) -> None:
    return None


# -- moments ---------------------------------------------------------------------------------------


def test_shots_that_follow_soon_and_look_alike_are_a_moment() -> None:
    shots = [shot(1, 0), shot(2, 3), shot(3, 6)]
    assert numbers(moments(shots, [], alike((1, 0), turned(0.8), (0, 1)))) == [[1, 2], [3]]


def test_a_longer_pause_asks_for_more_likeness() -> None:
    vectors = alike((1, 0), turned(0.6))
    assert numbers(moments([shot(1, 0), shot(2, 2)], [], vectors)) == [[1, 2]]
    assert numbers(moments([shot(1, 0), shot(2, 50)], [], vectors)) == [[1], [2]]


def test_a_moment_of_quick_shots_ends_with_a_pause_that_a_slow_one_has() -> None:
    same = alike(*[(1.0, 0.0)] * 4)
    quick = [shot(1, 0), shot(2, 1), shot(3, 2), shot(4, 30)]
    slow = [shot(1, 0), shot(2, 20), shot(3, 40), shot(4, 68)]
    assert numbers(moments(quick, [], same)) == [[1, 2, 3], [4]]
    assert numbers(moments(slow, [], same)) == [[1, 2, 3, 4]]


def test_one_blurred_shot_does_not_cut_a_moment_in_two() -> None:
    shots = [shot(1, 0), shot(2, 1), shot(3, 2)]
    assert numbers(moments(shots, [], alike((1, 0), turned(0.52), (1, 0)))) == [[1, 2, 3]]


def test_a_slow_turn_does_not_make_a_chain() -> None:
    angles = [number * 0.5 for number in range(8)]  # each like the one before
    shots = [shot(number + 1, 2.0 * number) for number in range(8)]
    found = numbers(moments(shots, [], alike(*[(math.cos(a), math.sin(a)) for a in angles])))
    assert len(found) > 1
    assert not any({1, 7} <= set(group) for group in found)


def test_two_cameras_have_their_own_moments() -> None:
    shots = [shot(1, 0), shot(2, 1, camera="Other")]
    assert numbers(moments(shots, [], alike((1, 0), (1, 0)))) == [[1], [2]]


def test_a_burst_is_one_moment_whatever_it_shows() -> None:
    shots = [shot(1, 0, burst=7), shot(2, 1), shot(3, 200, burst=7)]
    assert numbers(moments(shots, [], alike((1, 0), (0, 1), (0, -1)))) == [[1, 3], [2]]


def test_without_embeddings_only_what_follows_at_once_is_a_moment() -> None:
    shots = [shot(1, 0), shot(2, 1.5), shot(3, 6)]
    assert numbers(moments(shots, [], alike())) == [[1, 2], [3]]


def test_photos_without_a_time_are_moments_of_their_own() -> None:
    assert numbers(moments([shot(1), shot(2)], [], alike((1, 0), (1, 0)))) == [[1], [2]]


# -- ranks -----------------------------------------------------------------------------------------


def tiles(base: float, *, at: tuple[int, int] | None = None, value: float = 0.0) -> np.ndarray:
    """8 x 8 tiles of a sharpness of 0…100, one of them else."""
    found = np.full((8, 8), base * 2.55)
    if at is not None:
        found[at] = value * 2.55
    return found


FACE = Face((0.5, 0.25, 0.125, 0.125), ((0.55, 0.3),) * 5, 0.9, 0.8)  # the tile of row 2, column 4


def test_sharpness_counts_where_the_face_is() -> None:
    background = shot(1, 0, faces=(FACE,), quality=quality(70, tiles(70, at=(2, 4), value=34)))
    face = shot(2, 1, faces=(FACE,), quality=quality(60, tiles(30, at=(2, 4), value=78)))
    best, other = rank([background, face])
    assert best.shot is face
    assert "sharpest on the face (78, next 34)" in best.reasons
    assert "soft on the face: 34 against 78" in other.reasons


def test_an_object_that_is_in_all_shots_is_the_subject_where_there_are_no_faces() -> None:
    dog = ObjectBox("dog", (0.0, 0.0, 0.25, 0.25), 0.9)
    cat = ObjectBox("cat", (0.5, 0.5, 0.5, 0.5), 0.9)
    shots = [
        shot(1, 0, objects=(dog,), quality=quality(50, tiles(20, at=(0, 0), value=60))),
        shot(2, 1, objects=(dog, cat), quality=quality(50, tiles(20))),
    ]
    subject, values = subject_sharpness(shots)
    assert subject == "the dog"
    assert values == pytest.approx([40, 20], abs=0.5)  # the sharper half of four tiles


def test_without_tiles_of_all_shots_the_sharpness_of_the_whole_is_compared() -> None:
    shots = [shot(1, 0, quality=quality(40, tiles(90))), shot(2, 1, quality=quality(60))]
    assert subject_sharpness(shots) == ("", [40, 60])


@given(st.tuples(*[st.floats(-0.5, 1.5)] * 2), st.tuples(*[st.floats(0, 1.5)] * 2))
def test_any_box_has_tiles(corner: tuple[float, float], size: tuple[float, float]) -> None:
    face = Face((*corner, *size), ((0.5, 0.5),) * 5, 0.9, 0.5)
    _, (value,) = subject_sharpness([shot(1, 0, faces=(face,), quality=quality(50, tiles(50)))])
    assert value == pytest.approx(50, abs=0.5)


def test_clipped_highlights_lose_against_the_same_picture_without() -> None:
    good, bad = quality(50, tiles(50)), quality(52, tiles(52), clipped_high=0.07)
    best, other = rank([shot(1, 0, quality=bad), shot(2, 1, quality=good)])
    assert best.shot.photo.photo_id == 2
    assert "highlights clipped 7%" in other.reasons


def test_who_turned_away_is_missed() -> None:
    both, one = (FACE, face_at(0.1)), (FACE,)
    best, other = rank([shot(1, 0, faces=one, quality=quality()), shot(2, 1, faces=both, quality=quality())])
    assert best.shot.photo.photo_id == 2
    assert "1 of 2 faces seen" in other.reasons


def face_at(left: float) -> Face:
    return Face((left, 0.25, 0.125, 0.125), FACE.landmarks, 0.9, 0.8)


def test_a_persons_stars_count_before_anything_measured() -> None:
    shots = [
        shot(1, 0, quality=quality(SHARP), rating=-1),
        shot(2, 1, quality=quality(SHARP)),
        shot(3, 2, quality=quality(SOFT), rating=4),
        shot(4, 3, quality=quality(SOFT), label="Green"),
    ]
    ranked = rank(shots)
    assert [one.shot.photo.photo_id for one in ranked] == [3, 4, 2, 1]
    assert "rated 4" in ranked[0].reasons
    assert "rejected by you" in ranked[-1].reasons


def test_a_signal_that_one_shot_lacks_is_left_out_for_all() -> None:
    shots = [shot(1, 0, quality=quality(50, brisque=5.0)), shot(2, 1, quality=quality(50))]
    assert all("damage" not in one.signals for one in rank(shots))
    assert all("open eyes" not in one.signals and "aesthetics" not in one.signals for one in rank(shots))


def test_shots_of_which_nothing_is_known_keep_their_order() -> None:
    ranked = rank([shot(1, 0), shot(2, 1)])
    assert [(one.shot.photo.photo_id, one.score) for one in ranked] == [(1, 0.0), (2, 0.0)]


BLURS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "blurred": lambda picture: picture.filter(ImageFilter.GaussianBlur(2)),
    "bright": lambda picture: picture.point(lambda level: min(255, int(level * 1.9))),
    "dark": lambda picture: picture.point(lambda level: level // 8),
}


@pytest.mark.parametrize("variant", BLURS)
def test_of_a_real_picture_the_good_shot_is_the_pick(tmp_path: Path, variant: str) -> None:
    picture = Image.fromarray(scene()).point(lambda level: 40 + level * 150 // 255)
    write_jpeg(tmp_path / "a-bad.jpg", np.asarray(BLURS[variant](picture)))
    write_jpeg(tmp_path / "a-good.jpg", np.asarray(picture))
    settings = Settings(catalog=tmp_path / "catalog")
    ids = index(settings, [tmp_path / "a-bad.jpg", tmp_path / "a-good.jpg"])
    with Catalog.open(settings.catalog, settings) as catalog:
        records = [catalog.record(photo_id) for photo_id in ids.values()]
    ranked = rank([shot_of([one]) for one in records if one])
    assert ranked[0].shot.photo.path.endswith(b"a-good.jpg")
    assert ranked[1].reasons


# -- brackets --------------------------------------------------------------------------------------


def kinds(found: list[Series]) -> list[tuple[str, tuple[int, ...]]]:
    return [(one.kind, one.members) for one in found]


@pytest.mark.parametrize("steps", [(0, -2, 2), (0, -1, 1, -2, 2), (-0.67, 0, 0.67), (-3, -2, -1, 0, 1, 2, 3)])
def test_even_steps_of_exposure_within_seconds_are_a_bracket(steps: tuple[float, ...]) -> None:
    dialled = [shot(n + 1, n * 0.5, exposure_bias_ev=float(ev)) for n, ev in enumerate(steps)]
    by_time = [shot(n + 1, n * 0.5, exposure_s=0.01 * 2**ev) for n, ev in enumerate(steps)]
    expected = [("bracket", tuple(range(1, len(steps) + 1)))]
    assert kinds(find_series(dialled, unseen)) == expected
    assert kinds(find_series(by_time, unseen)) == expected


def test_two_brackets_one_after_the_other_are_two() -> None:
    shots = [shot(n + 1, n * 0.5, exposure_bias_ev=float(ev)) for n, ev in enumerate((0, -2, 2, 0, -2, 2))]
    assert kinds(find_series(shots, unseen)) == [("bracket", (1, 2, 3)), ("bracket", (4, 5, 6))]


@pytest.mark.parametrize(
    "shots",
    [
        [shot(n, n * 0.5, exposure_s=0.01 * 2 ** (0.3 * n)) for n in (1, 2, 3)],
        [shot(n, n * 10.0, exposure_bias_ev=2.0 * n) for n in (1, 2, 3)],
        [shot(n, n * 0.5, exposure_s=s) for n, s in ((1, 0.01), (2, 0.02), (3, 0.16))],
        [shot(n, n * 0.5, exposure_bias_ev=2.0 * n, focal_mm=20.0 + n) for n in (1, 2, 3)],
        [shot(n, n * 0.5, exposure_s=None) for n in (1, 2, 3)],
    ],
    ids=["small steps", "too slow", "uneven steps", "zoomed", "nothing known"],
)
def test_other_changes_of_exposure_are_no_bracket(shots: list[Shot]) -> None:
    assert find_series(shots, unseen) == []


def test_a_long_exposure_is_no_pause() -> None:
    shots = [shot(1, 0, exposure_s=1.0), shot(2, 2, exposure_s=4.0), shot(3, 7, exposure_s=16.0)]
    assert kinds(find_series(shots, unseen)) == [("bracket", (1, 2, 3))]


# -- focus stacks ----------------------------------------------------------------------------------


def focused(count: int) -> list[np.ndarray]:
    """Tiles whose sharp rows wander from the top to the bottom."""
    rows = np.arange(8)[:, None].repeat(8, 1)
    return [np.clip(100 - 40 * np.abs(rows - 7 * n / (count - 1)), 5, 100) * 2.55 for n in range(count)]


def same_view(shot: Shot) -> Outline:
    return Outline(scene(96, 128))


def stack(sharp: list[np.ndarray], **values: Any) -> list[Shot]:
    return [shot(n + 1, n * 1.0, quality=quality(50, one), **values) for n, one in enumerate(sharp)]


def test_shots_whose_sharp_part_wanders_are_a_focus_stack() -> None:
    assert kinds(find_series(stack(focused(5)), same_view)) == [("focus stack", (1, 2, 3, 4, 5))]


def test_a_focus_stack_is_found_between_other_shots_of_one_exposure() -> None:
    flat = [shot(9, 10.0, quality=quality(50, tiles(50))), shot(10, 18.0, quality=quality(50, tiles(50)))]
    assert kinds(find_series([*stack(focused(5)), *flat], same_view)) == [("focus stack", (1, 2, 3, 4, 5))]


def test_shots_that_are_shaken_as_a_whole_are_none() -> None:
    assert find_series(stack([tiles(level) for level in (90, 30, 60, 20, 80)]), same_view) == []


def test_somebody_who_walks_through_a_sharp_picture_makes_none() -> None:
    walking = [tiles(80) for _ in range(5)]
    for number, one in enumerate(walking):
        one[3:5, number] = 10
    assert find_series(stack(walking), same_view) == []


def test_pictures_of_other_things_are_none_though_their_sharp_parts_differ() -> None:
    views = {number: Outline(scene(96, 128, seed=number)) for number in range(1, 6)}
    assert find_series(stack(focused(5)), lambda one: views[one.photo.photo_id]) == []
    assert find_series(stack(focused(5)), unseen) == []


# -- panoramas -------------------------------------------------------------------------------------


def views(lefts: list[float], seed: int = 3) -> Callable[[Shot], Outline]:
    """What a camera sees that looks at the parts of one scene from these edges on, as shares of it."""
    whole = scene(240, 640, seed)
    cut = [whole[:, int(left * 640) : int(left * 640) + 256] for left in lefts]
    return lambda one: Outline(np.ascontiguousarray(cut[one.photo.photo_id - 1]))


def still(count: int, **values: Any) -> list[Shot]:
    return [shot(n + 1, n * 3.0, **values) for n in range(count)]


def test_a_shift_between_two_views_is_found_with_its_sign() -> None:
    view = views([0.0, 0.2, 0.0])
    first, second, third = (view(one) for one in still(3))
    right = first.shift_to(second)
    assert right is not None
    assert right.score > 0.6
    assert right.across == pytest.approx(-0.5, abs=0.03)
    assert right.down == pytest.approx(0, abs=0.03)
    same = first.shift_to(third)
    assert same == pytest.approx((0, 0, 1), abs=0.01)


@pytest.mark.parametrize("lefts", [[0.0, 0.15, 0.3, 0.45], [0.5, 0.3, 0.1]], ids=["right", "left"])
def test_a_steady_turn_is_a_panorama(lefts: list[float]) -> None:
    members = tuple(range(1, len(lefts) + 1))
    assert kinds(find_series(still(len(lefts)), views(lefts))) == [("panorama", members)]


@pytest.mark.parametrize(
    "lefts", [[0.2, 0.21, 0.2, 0.19], [0.0, 0.2, 0.0, 0.2]], ids=["held in the hand", "to and fro"]
)
def test_other_movements_are_none(lefts: list[float]) -> None:
    assert find_series(still(len(lefts)), views(lefts)) == []


def test_where_the_pictures_can_not_be_seen_the_compass_tells_a_turn() -> None:
    turning = [shot(n + 1, n * 3.0, direction_deg=(350 + 15.0 * n) % 360) for n in range(4)]
    assert kinds(find_series(turning, unseen)) == [("panorama", (1, 2, 3, 4))]
    assert find_series(still(4, direction_deg=10.0), unseen) == []


# -- the whole -------------------------------------------------------------------------------------


SPACE = "subjects 1"


def fill(settings: Settings, records: list[Record], subjects: dict[int, int]) -> list[int]:
    """A catalog of these records, whose embeddings are of their subjects; returns the photo_ids in order."""
    changed = []
    for one in records:
        vector = np.zeros(16, np.float16)
        vector[subjects.get(one.photo_id, 0)] = 1
        outputs = {**one.outputs, "embedding": Output(SPACE, embedding=vector.tobytes())}
        changed.append(Record(one.path, one.stat, one.content, one.facts, outputs))
    with Catalog.open(settings.catalog, settings, write=True) as catalog:
        catalog.commit(changed, b"profile1")
        catalog.follow(idle=True, force=True)
        return [catalog.photo_id_of(one.path) or 0 for one in records]


def roles(found: list[Moment]) -> list[tuple[str, list[int]]]:
    verdicts = itertools.chain.from_iterable(moment.verdicts for moment in found)
    return [(verdict.role, list(verdict.shot.photo_ids)) for verdict in verdicts]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(catalog=tmp_path / "catalog")


def test_a_raw_and_its_jpeg_are_one_shot(settings: Settings) -> None:
    jpeg, alone = record(1, 0), record(2, 1, quality=quality(SOFT))
    raw = Record(b"/photos/IMG_0001.dng", Stat(2, 2), b"r" * 16, of_format(jpeg.facts, "raw"), {}, photo_id=3)
    ids = fill(settings, [jpeg, alone, raw], {})
    with Catalog.open(settings.catalog, settings) as catalog:
        (moment,) = cull(catalog, settings, ids)
    files = sorted(sorted(verdict.shot.photo_ids) for verdict in moment.verdicts)
    assert files == sorted([sorted([ids[0], ids[2]]), [ids[1]]])


def test_an_export_in_another_folder_is_no_shot_of_its_own(settings: Settings) -> None:
    taken = [record(n, n, exposure_bias_ev=float(bias)) for n, bias in ((1, 0), (2, -2), (3, 2))]
    exports = [
        msgspec.structs.replace(one, path=b"/export/IMG_%04d.jpg" % n, content=b"e%015d" % n, photo_id=n + 3)
        for n, one in enumerate(taken, start=1)
    ]
    ids = fill(settings, [*taken, *exports], {})
    with Catalog.open(settings.catalog, settings) as catalog:
        (moment,) = cull(catalog, settings, ids)
    assert {verdict.reasons for verdict in moment.verdicts} == {("bracket of 3: keep all",)}
    files = [set(verdict.shot.photo_ids) for verdict in moment.verdicts]
    assert files == [{ids[n], ids[n + 3]} for n in range(3)]


def of_format(facts: Facts, kind: str) -> Facts:
    return msgspec.structs.replace(facts, format=kind)


def test_picks_are_as_many_as_asked_for_and_a_tie_of_stars_is_left_to_the_person(settings: Settings) -> None:
    ids = fill(settings, [record(n, n, quality=quality(10.0 * n)) for n in (1, 2, 3)], {})
    with Catalog.open(settings.catalog, settings) as catalog:
        assert roles(cull(catalog, settings, ids)) == [
            (PICK, [ids[2]]),
            (ALTERNATE, [ids[1]]),
            (ALTERNATE, [ids[0]]),
        ]
        assert [role for role, _ in roles(cull(catalog, settings, ids, keep=2))] == [PICK, PICK, ALTERNATE]


def test_equal_stars_are_equal_picks_and_a_rejected_shot_is_never_one(settings: Settings) -> None:
    stars = {1: 4, 2: 4, 3: 3, 4: -1}
    ids = fill(settings, [record(n, n if n < 4 else 500, rating=stars[n]) for n in (1, 2, 3, 4)], {})
    with Catalog.open(settings.catalog, settings) as catalog:
        found = roles(cull(catalog, settings, ids))
    assert found == [(PICK, [ids[0]]), (PICK, [ids[1]]), (ALTERNATE, [ids[2]]), (ALTERNATE, [ids[3]])]


@st.composite
def shoots(draw: st.DrawFn) -> tuple[list[Record], dict[int, int]]:
    count = draw(st.integers(1, 25))
    at_s, records, subjects = 0.0, [], {}
    for number in range(1, count + 1):
        at_s += draw(st.sampled_from([0.2, 1.0, 5.0, 90.0]))
        values = {
            "quality": quality(draw(st.floats(0, 100))),
            "exposure_bias_ev": float(draw(st.sampled_from([-2, 0, 2]))),
            "camera": draw(st.sampled_from(["Camera", "Other"])),
            "rating": draw(st.sampled_from([None, None, -1, 3])),
        }
        records.append(record(number, draw(st.sampled_from([at_s, at_s, at_s, None])), **values))
        subjects[number] = draw(st.integers(0, 2))
    return records, subjects


@given(shoots(), st.integers(1, 3))
def test_every_photo_is_in_one_moment_and_what_is_protected_is_no_alternate(
    shoot: tuple[list[Record], dict[int, int]], keep: int
) -> None:
    records, subjects = shoot
    shots = sorted((shot_of([one]) for one in records), key=culling.shots._order)
    vectors = np.eye(16, dtype=np.float16)[[subjects[number] for number in range(1, len(records) + 1)]]
    embeddings = Embeddings(np.arange(1, len(records) + 1), vectors)
    series = find_series(shots, unseen)
    found = culling._judged(moments(shots, series, embeddings), series, keep)
    verdicts = [verdict for moment in found for verdict in moment.verdicts]
    files = sorted(photo_id for verdict in verdicts for photo_id in verdict.shot.photo_ids)
    assert files == [one.photo_id for one in records]
    members = {member for one in series for member in one.members}
    assert {v.shot.photo.photo_id for v in verdicts if v.role == PROTECTED} == members
    firsts = [verdict for verdict in verdicts if verdict.rank == 1]
    assert all((one.role == PICK) == (one.shot.photo.facts.rating != -1) for one in firsts)
    assert all(verdict.reasons for verdict in verdicts if verdict.role == PROTECTED)


def test_the_answer_does_not_depend_on_the_order_of_the_photos(settings: Settings) -> None:
    ids = fill(settings, [record(n, n // 2, quality=quality(50)) for n in range(1, 9)], {5: 1, 6: 1})
    with Catalog.open(settings.catalog, settings) as catalog:
        first = cull(catalog, settings, ids)
        assert cull(catalog, settings, reversed(ids)) == first
    assert sum(len(moment.verdicts) for moment in first) == 8


def bracketed(folder: Path) -> Iterator[Path]:
    for number, level in enumerate((120, 60, 240)):
        picture = Image.fromarray(scene()).point(lambda value, level=level: min(255, value * level // 120))
        path = folder / f"view-{number}.jpg"
        write_jpeg(path, np.asarray(picture))
        yield path


def test_a_bracket_of_real_pictures_is_kept_and_is_no_duplicate(tmp_path: Path, settings: Settings) -> None:
    paths = list(bracketed(tmp_path))
    index(settings, paths)
    with Catalog.open(settings.catalog, settings, write=True) as catalog:
        records = list(catalog.iter_records())
        facts = [in_bracket(one.facts, number) for number, one in enumerate(records)]
        changed = [msgspec.structs.replace(one, facts=said) for one, said in zip(records, facts, strict=True)]
        catalog.commit(changed, b"profile1")
        catalog.follow(idle=True, force=True)
        ids = [one.photo_id for one in records]
        (moment,) = cull(catalog, settings, ids)
        ((series, files),) = protected_series(catalog, settings)
        duplicates = [one.kind for one in Duplicates(catalog, settings, NEAR).groups()]
    assert {verdict.role for verdict in moment.verdicts} == {PROTECTED}
    assert moment.verdicts[0].reasons == ("bracket of 3: keep all",)
    assert (series.kind, files) == ("bracket", frozenset(ids))
    assert set(duplicates) <= {BURST}


def in_bracket(facts: Facts, number: int) -> Facts:
    taken_at = (START + datetime.timedelta(seconds=number)).isoformat()
    bias = (0.0, -1.0, 1.0)[number]
    return msgspec.structs.replace(facts, camera="Camera", taken_at=taken_at, exposure_bias_ev=bias)


def test_series_of_a_library_are_found_part_by_part(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(culling, "_PART_PHOTOS", 2)
    records = [
        record(n, 100.0 * (n // 3) + n % 3, exposure_bias_ev=2.0 * (n % 3), camera=f"Camera {n // 6}")
        for n in range(3, 18)
    ]
    ids = fill(settings, [*records, record(18), record(19)], {})
    with Catalog.open(settings.catalog, settings) as catalog:
        found = {files for _, files in protected_series(catalog, settings)}
        some = {files for _, files in protected_series(catalog, settings, ids[:4])}
    assert found == {frozenset(ids[start : start + 3]) for start in range(0, 15, 3)}
    assert some == {frozenset(ids[:3])}


def test_nothing_gives_nothing(settings: Settings) -> None:
    fill(settings, [record(1, 0)], {})
    with Catalog.open(settings.catalog, settings) as catalog:
        assert cull(catalog, settings, []) == []
        assert cull(catalog, settings, [99]) == []
