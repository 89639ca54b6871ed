"""What facts say of two files, before anybody looks at their pixels."""

from __future__ import annotations

import math
from typing import Any

import pytest

from catalogd.duplicates.judging import EXACT, Judge, Photo, how_encoded, is_other_exposure
from catalogd.models.signature import FLAT
from catalogd.records import Facts, Stat
from catalogd.settings import Settings

SHOT = {"taken_at": "2024-05-01T17:30:15", "camera": "Nikon Z 6", "exposure_s": 1 / 250, "iso": 640}


def photo(name: str = "DSC_0001.jpg", content: str = "", signature: bytes = FLAT, **facts: Any) -> Photo:
    fields = {"format": "jpeg", "width": 6000, "height": 4000, **facts}
    return Photo(
        len(name),
        b"/p/" + name.encode(),
        Stat(1000, 1),
        content.encode(),
        Facts(**fields),
        math.nan,
        signature,
    )


@pytest.mark.parametrize(
    "changed",
    [
        {"taken_at": "2024-05-01T17:30:18"},
        {"camera": "Nikon Z 8"},
        {"exposure_s": 1 / 60},
        {"iso": 800},
        {"exposure_bias_ev": -1.0},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_another_time_camera_or_setting_means_another_exposure(changed: dict[str, Any]) -> None:
    first = photo(**SHOT, exposure_bias_ev=0.0)
    assert is_other_exposure(first, photo("other.jpg", **{**SHOT, "exposure_bias_ev": 0.0, **changed}))
    assert not is_other_exposure(first, photo("other.jpg", **SHOT, exposure_bias_ev=0.0))


def test_fractions_of_a_second_tell_where_both_know_them() -> None:
    first = photo(taken_at="2024-05-01T17:30:15.120")
    assert is_other_exposure(first, photo("b.jpg", taken_at="2024-05-01T17:30:15.240"))
    assert not is_other_exposure(first, photo("b.jpg", taken_at="2024-05-01T17:30:15.120"))
    assert not is_other_exposure(first, photo("b.jpg", taken_at="2024-05-01T17:30:15"))


def test_who_knows_nothing_contradicts_nobody() -> None:
    assert not is_other_exposure(photo(**SHOT), photo("from a chat.jpg"))
    assert not is_other_exposure(photo("a_0001.jpg"), photo("a_0002.jpg"))


@pytest.mark.parametrize(
    ("name", "is_other"),
    [
        ("DSC_0002.jpg", True),
        ("DSC_0001 (1).jpg", False),
        ("DSC_0001-copy.jpg", False),
        ("holiday 17.jpg", False),
        ("holiday_0017.jpg", False),
    ],
)
def test_frames_of_a_series_are_known_by_their_numbers(name: str, is_other: bool) -> None:
    assert is_other_exposure(photo(**SHOT), photo(name, **SHOT)) is is_other
    smaller = photo(name, **SHOT, width=600, height=400)
    assert not is_other_exposure(photo(**SHOT), smaller), "a camera does not change its size in a second"


def test_how_files_of_one_picture_differ_is_said_in_words() -> None:
    original = photo(**SHOT)
    assert how_encoded(original, photo(**SHOT, width=3000, height=2000)) == "resized to 50%"
    assert how_encoded(original, photo(**SHOT, format="heif")) == "encoded as heif instead of jpeg"
    assert how_encoded(original, photo(**SHOT)) == "encoded again, or its metadata differ"
    assert "RAW" in how_encoded(photo(**SHOT, format="raw"), original)


def test_equal_fingerprints_need_no_pixels_and_unknown_pixels_are_no_likeness(settings: Settings) -> None:
    judge = Judge(settings)
    found = judge.likeness(photo(content="a"), photo("b.jpg", content="a"))
    assert found is not None
    assert found.kind == EXACT
    gone = photo("gone.jpg", content="b", signature=b"\1" * 32)
    assert judge.likeness(photo(content="c", signature=b"\1" * 32), gone) is None
    assert judge.unseen == {gone.photo_id, photo().photo_id}


@pytest.fixture
def settings(tmp_path: Any) -> Settings:
    return Settings(catalog=tmp_path)
