"""Which file is kept, and what is said for it."""

from __future__ import annotations

from typing import Any

import pytest

from catalogd.duplicates.judging import Photo
from catalogd.duplicates.keeping import by_worth, lacking, reasons
from catalogd.records import Facts, Stat


def photo(name: str, size: int = 5_000_000, sharpness: float = 50.0, **facts: Any) -> Photo:
    fields = {"format": "jpeg", "width": 6000, "height": 4000, **facts}
    return Photo(1, b"/p/" + name.encode(), Stat(size, 1), b"", Facts(**fields), sharpness, bytes(32))


@pytest.mark.parametrize(
    ("better", "worse", "words"),
    [
        (photo("z.jpg"), photo("a.jpg", rating=-1), "not rejected"),
        (photo("z.jpg"), photo("a.jpg", truncated=True), "whole, the other ends early"),
        (photo("z.nef", format="raw"), photo("a.jpg", width=8000, height=6000), "RAW"),
        (photo("z.jpg"), photo("a.jpg", width=3000, height=2000, rating=5), "more pixels: 6000 x 4000"),
        (photo("z.jpg", rating=4), photo("a.jpg", rating=3, keywords=("x",)), "rated 4"),
        (photo("z.jpg", keywords=("x",)), photo("a.jpg", latitude=1.0), "has more of a person's words"),
        (
            photo("z.jpg", taken_at="2024-05-01", latitude=1.0),
            photo("a.jpg", taken_at="2024-05-01"),
            "knows its date, place",
        ),
        (photo("z.jpg"), photo("z (2).jpg", size=9_000_000), "its name is not that of a copy"),
        (photo("z.jpg"), photo("Copy of a.jpg"), "its name is not that of a copy"),
        (photo("z.png", format="png"), photo("a.jpg"), "encoded without loss"),
        (photo("z.jpg"), photo("a.jpg", size=900_000), "more bytes for its pixels"),
        (photo("z.jpg", sharpness=80), photo("a.jpg"), "sharper"),
        (photo("z.jpg"), photo("old/backup/a.jpg"), "in a folder further up"),
        (photo("a.jpg"), photo("b.jpg"), "first by its path, all else is alike"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_first_point_in_which_two_files_differ_decides(better: Photo, worse: Photo, words: str) -> None:
    assert by_worth([worse, better]) == by_worth([better, worse]) == [better, worse]
    assert reasons(better, [worse]) == (words,)


def test_each_reason_is_said_once_for_all_the_others() -> None:
    small = [photo(f"{number}.jpg", width=300, height=200) for number in range(3)]
    assert reasons(photo("z.jpg"), [*small, photo("a.jpg", size=100_000)]) == (
        "more pixels: 6000 x 4000",
        "more bytes for its pixels",
    )


def test_what_only_the_others_know_is_named() -> None:
    keeper = photo("a.nef", format="raw", keywords=("own",))
    others = [photo("a.jpg", rating=4, keywords=("x",)), photo("b.jpg", latitude=3.0, caption="")]
    assert lacking(keeper, others) == ("rating", "position")
    assert lacking(keeper, [photo("b.jpg")]) == ()
