"""kill -9 of an import of a Lightroom catalog and of the writer that follows: nothing is lost or doubled."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from catalogd.catalog import Catalog
from catalogd.catalog.user_data import UserData
from catalogd.records import Facts
from catalogd.settings import Settings
from tests.catalog.photos import PROFILE, photo
from tests.sync.lightroom.lrcat import LrCatalog, uuid_of
from tests.torture.giving import PAGE, POINTS, SETTINGS
from tests.torture.library import REPOSITORY

PHOTOS = 4 * PAGE + 2
TAKEN_BACK = "importer: some of what is gone is taken back"  # only the second import comes here
ONCE = "importer: before the collections"  # of an import
CASES = [(point, number) for point in POINTS for number in (1, 2) if (point, number) != (ONCE, 2)]
pytestmark = [pytest.mark.torture, pytest.mark.timeout(600)]


class Library:
    """Photos that are indexed but for the last two, and a catalog of Lightroom that knows all."""

    def __init__(self, folder: Path) -> None:
        self.lrcat, self.catalog = folder / "LR.lrcat", folder / "catalog"
        made = LrCatalog(self.lrcat)
        at = made.folder(made.root("/photos/"))
        words = [made.keyword(word) for word in ("sea", "wood")]
        images = [
            made.photo(at, f"{n}.jpg", rating=n % 5 + 1.0, keywords=words[n % 2 :], caption=f"caption {n}")
            for n in range(PHOTOS)
        ]
        made.copy(images[3], "Sepia", rating=5.0)
        made.collection("Best", images=tuple(images[::3]))
        made.close()
        facts = Facts("jpeg", 40, 30, rating=1, caption="of the file")
        with Catalog.open(self.catalog, Settings(**SETTINGS), write=True) as catalog:
            catalog.commit([photo(f"/photos/{n}.jpg", facts=facts) for n in range(PHOTOS - 2)], PROFILE)
            catalog.follow(force=True)

    def edit(self) -> None:
        """In Lightroom: other stars, none, an empty caption, a photo that is gone, another collection."""
        with sqlite3.connect(self.lrcat) as db:
            db.execute("UPDATE Adobe_images SET rating = 5 - rating WHERE id_local % 3 = 0")
            db.execute("UPDATE Adobe_images SET rating = NULL WHERE id_local % 4 = 0")
            db.execute("UPDATE AgLibraryIPTC SET caption = '' WHERE image % 5 = 0")
            db.execute("DELETE FROM Adobe_images WHERE id_local % 7 = 0")
            db.execute("DELETE FROM AgLibraryCollectionImage WHERE image > 9")
        db.close()

    def start(self, point: str = "", number: int = 1) -> subprocess.Popen[bytes]:
        arguments = [str(self.lrcat), str(self.catalog), point, str(number)]
        return subprocess.Popen(
            [sys.executable, "-m", "tests.torture.giving", *arguments], cwd=REPOSITORY, stderr=subprocess.PIPE
        )

    def take(self, point: str = "", number: int = 1) -> bool:
        """Import, and let the records follow; whether it came to its end."""
        process = self.start(point, number)
        _, errors = process.communicate(timeout=120)
        assert process.returncode in (0, -signal.SIGKILL), errors.decode()
        return process.returncode == 0

    def said(self) -> dict[str, Any]:
        """All that is kept of what was set, and what the records and the indexes make of it."""
        with Catalog.open(self.catalog, Settings(**SETTINGS)) as catalog, UserData(self.catalog) as user:
            assert catalog.check(deep=True) == []
            assert not user.has_given_news()
            heads = {uuid: (head.photo_id, head.digest) for uuid, head in user.given_heads("lightroom")}
            records = {record.path: (record.user, record.said) for record in catalog.iter_records()}
            albums = [msgspec.structs.replace(album, made_at=0.0) for album in user.albums()]
            counts = user.given_counts("lightroom")
            words = {word: [hit.photo_id for hit in catalog.search_text(word)] for word in ("sea", "wood")}
        return {"heads": heads, "records": records, "albums": albums, "counts": counts, "words": words}


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any]]:
    """What an undisturbed import says, and one after the edit."""
    library = Library(tmp_path_factory.mktemp("undisturbed"))
    assert library.take()
    first = library.said()
    library.edit()
    assert library.take()
    return first, library.said()


def test_an_undisturbed_import_says_what_was_set(expected: tuple[dict[str, Any], dict[str, Any]]) -> None:
    first, second = expected
    assert first["counts"] == (PHOTOS + 1, 1, 2, 1)
    assert len(first["words"]["wood"]) == PHOTOS - 2
    assert first["records"][b"/photos/3.jpg"][1].rating == 4
    assert second["records"][b"/photos/3.jpg"][1].rating is None, "its stars were taken off: 4 in the file"
    assert second["records"][b"/photos/4.jpg"][1].caption is None
    assert uuid_of(7) in first["heads"]
    assert uuid_of(7) not in second["heads"]
    assert second["records"][b"/photos/6.jpg"][0] is None


@pytest.mark.parametrize(("point", "number"), CASES)
def test_what_dies_at_a_named_point_is_made_good_by_the_next_import(
    tmp_path: Path, point: str, number: int, expected: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    """In the first import, and in the one after the edit."""
    library = Library(tmp_path)
    deaths = 0
    for wanted in expected:
        deaths += not library.take(point, number)
        assert library.take()
        assert library.said() == wanted
        library.edit()
    assert deaths == (1 if point == TAKEN_BACK else 2), "it never came to the point"


@pytest.mark.parametrize("seed", range(6))
def test_it_may_die_at_any_moment(
    tmp_path: Path, seed: int, expected: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    dice = random.Random(seed)
    library = Library(tmp_path)
    for wanted in expected:
        for _ in range(3):
            process = library.start()
            time.sleep(dice.uniform(0.3, 3.0))
            process.kill()
            process.communicate()
        assert library.take()
        assert library.said() == wanted
        library.edit()
