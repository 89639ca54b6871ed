"""Which file a path in a request means, and that none leads out of the libraries."""

from __future__ import annotations

import os
import tempfile
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from catalogd.errors import OutsideError
from catalogd.web.inside import inside


@pytest.fixture(scope="module")
def places() -> Iterator[Path]:
    """A library with links in it, a second one, and what is in neither."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder).resolve()
        for name in ("library/sub", "library-2", "secret"):
            (place / name).mkdir(parents=True)
        for name in ("library/a.jpg", "library/sub/b.jpg", "library-2/c.jpg", "secret/key", "outside.jpg"):
            (place / name).write_bytes(b"x")
        (place / "library" / unicodedata.normalize("NFD", "café.jpg")).write_bytes(b"x")
        Path(os.fsdecode(bytes(place / "library") + b"/caf\xe9.jpg")).write_bytes(b"x")
        (place / "library/out").symlink_to(place / "secret")
        (place / "library/key.jpg").symlink_to(place / "secret/key")
        (place / "library/again").symlink_to(place / "library/sub")
        (place / "library/up").symlink_to("..")
        (place / "library/loop").symlink_to("loop")
        (place / "door").symlink_to(place / "library")
        yield place


def roots(place: Path) -> list[bytes]:
    return [bytes(place / "library")]


@pytest.mark.parametrize(
    ("asked", "is_at"),
    [
        ("library/a.jpg", "library/a.jpg"),
        ("library/sub", "library/sub"),
        ("library", "library"),
        ("library/./sub//b.jpg", "library/sub/b.jpg"),
        ("library/sub/", "library/sub"),
        ("library/again/b.jpg", "library/sub/b.jpg"),  # a link that stays inside
        ("door/a.jpg", "library/a.jpg"),  # a link that leads in
        ("library/not yet.jpg", "library/not yet.jpg"),
        ("library/%2e%2e/secret/key", "library/%2e%2e/secret/key"),  # a folder of that name
        ("library/..%2fsecret", "library/..%2fsecret"),
        ("library/loop", "library/loop"),
    ],
)
def test_a_path_in_a_library_is_found_without_its_links(places: Path, asked: str, is_at: str) -> None:
    assert inside(f"{places}/{asked}", roots(places)) == bytes(places / is_at)


@pytest.mark.parametrize(
    "asked",
    [
        "",
        "a.jpg",
        "{0}",
        "{0}/secret/key",
        "{0}/library-2/c.jpg",
        "{0}/library/../secret/key",
        "{0}/library/../library/a.jpg",
        "{0}/library/sub/../../secret/key",
        "{0}/library/out/key",
        "{0}/library/out",
        "{0}/library/key.jpg",
        "{0}/library/up/secret/key",
        "{0}/library/a.jpg\0.png",
        "{0}/library/a\n.jpg",
        "{0}/library/a\r.jpg",
        "{0}/library/a\x7f.jpg",
        "{0}/LIBRARY/a.jpg",
        "{0}/library/" + "a" * 5000,
        "{0}/library/\ud800.jpg",
        "file://{0}/library/a.jpg",
        "~/a.jpg",
        "..\\..\\secret",
        "/proc/self/root{0}/secret/key",
        "/dev/fd/0",
    ],
)
def test_what_is_in_no_library_is_refused(places: Path, asked: str) -> None:
    with pytest.raises(OutsideError):
        inside(asked.replace("{0}", str(places)), roots(places))


def test_accents_and_bytes_are_spelled_as_the_disk_has_them(places: Path) -> None:
    library = places / "library"
    composed, decomposed = (unicodedata.normalize(form, "café.jpg") for form in ("NFC", "NFD"))
    assert inside(f"{library}/{composed}", roots(places)) == os.fsencode(library / decomposed)
    assert inside(f"{library}/{decomposed}", roots(places)) == os.fsencode(library / decomposed)
    assert inside(f"{library}/caf\\xe9.jpg", roots(places)) == bytes(library) + b"/caf\xe9.jpg"
    assert inside(f"{library}/caf\udce9.jpg", roots(places)) == bytes(library) + b"/caf\xe9.jpg"
    assert inside(f"{library}/gone\\xe9.jpg", roots(places)) == bytes(library) + b"/gone\\xe9.jpg"
    assert inside(f"{library}/A.JPG", roots(places)) == bytes(library) + b"/A.JPG"  # another file here


def test_every_library_counts_and_none_is_none(places: Path) -> None:
    both = [*roots(places), bytes(places / "library-2")]
    assert inside(f"{places}/library-2/c.jpg", both) == bytes(places / "library-2/c.jpg")
    with pytest.raises(OutsideError):
        inside(f"{places}/library/a.jpg", [])
    assert inside("/etc/hosts", [b"/"]) == os.path.realpath(b"/etc/hosts")


def test_where_links_are_followed_they_may_lead_out_and_dots_still_not(places: Path) -> None:
    library = bytes(places / "library")
    assert inside(f"{places}/library/out/key", roots(places), True) == library + b"/out/key"
    assert inside(f"{places}/door/out/key", roots(places), True) == library + b"/out/key"
    for asked in ("library/out/../../secret/key", "secret/key", "library-2/c.jpg"):
        with pytest.raises(OutsideError):
            inside(f"{places}/{asked}", roots(places), True)


TRICKS = [
    "..",
    ".",
    "",
    "%2e%2e",
    "%2f",
    "..%2f",
    "\\",
    "\\x2e\\x2e",
    "\\x2f",
    "\\xaf",
    "\0",
    "\n",
    "．．",
    "é",
]
NAMES = [
    "library",
    "library-2",
    "secret",
    "sub",
    "a.jpg",
    "out",
    "up",
    "again",
    "loop",
    "key",
    "door",
    "key.jpg",
]
PIECES = st.sampled_from([*TRICKS, *NAMES])


@given(st.lists(st.one_of(PIECES, st.text(max_size=4)), max_size=8), st.booleans())
@example(["library", "up", "secret", "key"], True)
@example(["library", "\\x2e\\x2e", "secret", "key"], False)
def test_no_path_leads_out(places: Path, pieces: list[str], from_root: bool) -> None:
    """Whatever is asked: a real path in the library, whose file is there too, or a refusal."""
    asked = "/".join([str(places) if from_root else f"{places}/library", *pieces])
    try:
        found = inside(asked, roots(places))
    except OutsideError:
        return
    assert found == os.path.realpath(found)
    assert found == roots(places)[0] or found.startswith(roots(places)[0] + b"/")


@given(st.lists(PIECES, max_size=6))
def test_a_path_that_is_found_is_found_again_as_itself(places: Path, pieces: list[str]) -> None:
    try:
        found = inside("/".join([f"{places}/library", *pieces]), roots(places))
    except OutsideError:
        return
    assert inside(os.fsdecode(found), roots(places)) == found
