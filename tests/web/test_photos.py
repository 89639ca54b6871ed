"""Photos over HTTP: lists, one, by paths, pictures; and that nothing is given away but what was indexed."""

from __future__ import annotations

import json
import os
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from catalogd.cli import cli
from catalogd.records import Facts, Output, Place, Quality, Tag
from catalogd.sync.policy import keywords_of, load_policy
from catalogd.sync.results import quality_band, results_of
from catalogd.sync.telling import own_words
from catalogd.thumbnails import decode_thumbnail
from catalogd.web import schemas
from tests.catalog.photos import photo
from tests.factory import scene, write_plain_jpeg
from tests.web.library import (
    ACCENTS,
    API,
    BROKEN,
    DOG,
    GONE,
    NO_TEXT,
    RECEIPT,
    Library,
    opened,
)


def one(library: Library, path: str, *fields: str) -> dict[str, Any]:
    """What a lookup tells of one path."""
    found = library.post("/photos/lookup", {"paths": [path], "fields": list(fields)})
    schemas.LookupAnswer.model_validate(found, strict=True)
    (row,) = found["photos"]
    assert row["path"] == path
    return dict(row)


# ── lists ─────────────────────────────────────────────────────────────────────────────────────


def test_pages_together_hold_every_photo_once(library: Library) -> None:
    seen: list[int] = []
    cursor = None
    for _ in range(20):
        page = library.get("/photos", params={"limit": 4} | ({"cursor": cursor} if cursor else {}))
        schemas.PhotosPage.model_validate(page, strict=True)
        seen += [row["photo_id"] for row in page["photos"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == library.backend.catalog.select(()).ids.tolist()


def test_a_query_chooses_what_is_listed(library: Library) -> None:
    page = library.get("/photos", params={"q": "place:Bergen"})
    assert [(row["path"], row["place"]) for row in page["photos"]] == [(DOG, "Bergen, Vestland, Norway")]
    assert page["next"] is None


def test_lines_hold_all_photos_without_a_cursor(library: Library) -> None:
    answer = library.client.get(f"{API}/photos", headers={"Accept": "application/x-ndjson"})
    assert answer.headers["content-type"] == "application/x-ndjson"
    rows = [json.loads(line) for line in answer.text.splitlines()]
    assert rows == library.get("/photos")["photos"]


@pytest.mark.parametrize("cursor", ["", "x", "!!!", "gaFh", "wA", "_____w", "z4AAAAAAAAAA"])
def test_a_cursor_that_was_made_up_is_refused(library: Library, cursor: str) -> None:
    assert "cursor" in library.get("/photos", 400, params={"cursor": cursor})["error"]["message"]


def test_one_photo_is_what_the_command_shows(library: Library) -> None:
    answer = library.get(f"/photos/{library.id_of(DOG)}")
    schemas.Photo.model_validate(answer)
    arguments = ["--catalog", str(library.settings.catalog), "show", str(library.id_of(DOG)), "--json"]
    assert answer == json.loads(CliRunner().invoke(cli, arguments).stdout)
    assert answer["outputs"]["embedding"]["joint_embedding"] == {"dimension": 16}


def test_a_path_that_is_no_text_is_shown_with_its_bytes(library: Library) -> None:
    assert library.get(f"/photos/{library.id_of(NO_TEXT)}")["path"] == r"/lib/2024/caf\xe9 2.jpg"


@pytest.mark.parametrize("number", ["7", str(2**53 - 1)])
def test_a_photo_that_is_not_there_is_not_found(library: Library, number: str) -> None:
    assert library.get(f"/photos/{number}", 404)["error"]["kind"] == "not_found"


@pytest.mark.parametrize("number", ["0", "-1", "x", str(2**53), "9" * 40])
def test_a_number_that_no_photo_has_is_invalid(library: Library, number: str) -> None:
    assert library.get(f"/photos/{number}", 422)["error"]["kind"] == "validation"


# ── by paths ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("path", "state"),
    [
        (DOG, "indexed"),
        (BROKEN, "failed"),
        (GONE, "missing"),
        ("/lib/2024/new.jpg", "unknown"),
        ("/elsewhere/new.jpg", "outside"),
        ("/lib/2024/../../etc/passwd", "outside"),
        ("relative.jpg", "outside"),
        ("", "outside"),
        ("\0", "outside"),
        ("/lib/2024/" + "x" * 5000, "unknown"),
    ],
)
def test_a_lookup_tells_the_state_of_each_path(library: Library, path: str, state: str) -> None:
    row = one(library, path, "summary")
    assert row["state"] == state
    known = state in ("indexed", "missing")
    assert (row["photo_id"] is not None) == (row["summary"] is not None) == known
    assert row["results"] is None


def test_a_failure_comes_with_its_reason(library: Library) -> None:
    assert one(library, BROKEN)["failure"] == {
        "stage": "read",
        "reason": "unreadable",
        "message": "not a photo",
    }


@pytest.mark.parametrize("spell", [str, str.upper, lambda name: unicodedata.normalize("NFD", name)])
def test_names_are_found_however_accents_and_case_are_written(library: Library, spell: Any) -> None:
    folder, name = os.path.split(ACCENTS)
    assert one(library, f"{folder}/{spell(name)}")["photo_id"] == library.id_of(ACCENTS)


def test_the_folders_of_the_run_decide_what_is_outside(own_library: Library) -> None:
    status = {"running": True, "roots": ["/lib", "/new"], "pid": 1}
    (own_library.settings.catalog / "run.json").write_text(json.dumps(status))
    assert one(own_library, "/new/a.jpg")["state"] == "unknown"
    assert one(own_library, "/newer/a.jpg")["state"] == "outside"


def test_answers_are_in_the_order_asked_also_for_the_same_path_twice(library: Library) -> None:
    asked = [BROKEN, DOG, "/lib/none.jpg", DOG]
    found = library.post("/photos/lookup", {"paths": asked, "fields": []})["photos"]
    assert [row["path"] for row in found] == asked
    assert found[1]["photo_id"] == found[3]["photo_id"] == library.id_of(DOG)


def test_a_lookup_is_bounded(library: Library) -> None:
    assert library.post("/photos/lookup", {"paths": ["/x"] * 1001}, 422)["error"]["kind"] == "validation"
    assert library.post("/photos/lookup", {"paths": []}) == {"photos": []}


def test_results_are_what_sidecars_get(library: Library) -> None:
    results = one(library, DOG, "results")["results"]
    record = library.backend.record(library.id_of(DOG))
    own = own_words(library.backend.catalog.people, record, None)
    policy = load_policy(library.settings)
    assert [tuple(word["path"].split("|")) for word in results["keywords"]] == list(
        keywords_of(record, policy, own.people)
    )
    assert [(word["name"], word["kind"], word["score"]) for word in results["keywords"]] == [
        ("dog", "object", 0.8),
        ("boxer", "tag", 0.6),
        ("tabby cat", "tag", 0.6),
        ("Bergen", "place", None),
    ]
    assert results["rating_proposal"] == {
        "rating": 3,
        "label": "Green",
        "pick": None,
        "reasons": ["the sharpest"],
    }
    assert (results["sharpness"], results["quality_band"]) == (80.0, "sharp")
    assert results["place"]["city"] == "Bergen"


def test_results_hold_the_text_in_the_picture_and_whom_it_shows(library: Library) -> None:
    assert one(library, RECEIPT, "results")["results"]["text"] == ["TOTAL 17.50"]
    shown = one(library, "/lib/2023/Norway/dog_2.jpg", "results")["results"]
    assert shown["people"] == ["Anna Núñez"]
    assert {"name": "Anna Núñez", "path": "People|Anna Núñez", "score": None, "kind": "person"} in shown[
        "keywords"
    ]


def test_the_vocabulary_decides_keywords_here_too(tmp_path: Path) -> None:
    vocabulary = tmp_path / "words.toml"
    vocabulary.write_text('block = ["boxer"]\n[keywords]\ndog = "Animals|Dog"\n')
    with opened(tmp_path / "own", keyword_vocabulary=vocabulary, keyword_parent="") as library:
        words = one(library, DOG, "results")["results"]["keywords"]
    assert [word["path"] for word in words] == [
        "Animals|Dog",
        "tabby cat",
        "Places|Norway|Vestland|Bergen",
    ]


def test_a_rejected_photo_is_a_flag_and_no_stars() -> None:
    from catalogd.records import Proposal
    from catalogd.settings import Settings
    from catalogd.sync.fields import Own

    record = photo("/a.jpg", facts=Facts("jpeg", 4, 3, place=Place("NO", "Norway")))
    policy = load_policy(Settings())
    results = results_of(record, Own(rating=-1), Proposal(-1, reasons=("soft",)), policy)
    assert results["rating_proposal"] == {"rating": None, "label": None, "pick": -1, "reasons": ["soft"]}
    assert results_of(record, Own(), None, policy)["rating_proposal"] is None


def test_a_model_s_caption_is_given_with_the_model_and_as_alternative_text() -> None:
    from catalogd.settings import Settings
    from catalogd.sync.fields import Own

    outputs = {"caption": Output("florence@12.1", caption="A dog on a beach.")}
    record = photo("/a.jpg", facts=Facts("jpeg", 4, 3), outputs=outputs)
    results = results_of(record, Own(), None, load_policy(Settings()))
    assert results["caption"] == {"text": "A dog on a beach.", "model": "florence@12.1"}
    assert results["alt_text"] == "A dog on a beach."
    assert results_of(photo("/b.jpg"), Own(), None, load_policy(Settings()))["caption"] is None


@pytest.mark.parametrize(
    ("sharpness", "brightness", "band"),
    [
        (90, 0.5, "sharp"),
        (50, 0.5, "soft"),
        (10, 0.5, "blurred"),
        (10, 0.01, "blurred"),
        (90, 0.01, "dark"),
        (90, 0.95, "bright"),
    ],
)
def test_one_word_tells_the_technical_quality(sharpness: float, brightness: float, band: str) -> None:
    assert quality_band(Quality(sharpness, 20, brightness, 0.5, 0, 0, 2, 30)) == band


def test_a_word_that_two_models_say_keeps_the_kind_of_the_surer_one() -> None:
    from catalogd.settings import Settings
    from catalogd.sync.policy import explained_keywords

    record = photo(
        "/a.jpg",
        outputs={
            "a": Output("1", tags=(Tag("dog", 0.6),)),
            "b": Output("2", tags=(Tag("dog", 0.9), Tag("cat", 0.1))),
        },
    )
    (only,) = explained_keywords(record, load_policy(Settings(keyword_parent="")))
    assert (only.path, only.kind, only.score) == (("dog",), "tag", 0.9)


# ── pictures ──────────────────────────────────────────────────────────────────────────────────


def picture(library: Library, kind: str, status: int = 200, **headers: str) -> Any:
    answer = library.client.get(f"{API}/photos/{library.id_of(library.real)}/{kind}", headers=headers)
    assert answer.status_code == status, answer.text
    return answer


@pytest.mark.parametrize("kind", ["thumbnail", "preview", "faces/1/image"])
def test_a_picture_comes_with_a_tag_by_which_it_is_not_sent_again(library: Library, kind: str) -> None:
    first = picture(library, kind)
    assert first.headers["content-type"] == "image/jpeg"
    assert first.headers["cache-control"].startswith("private, max-age=")
    again = picture(library, kind, 304, **{"If-None-Match": f'"other", W/{first.headers["etag"]}'})
    assert again.content == b""
    assert again.headers["etag"] == first.headers["etag"]
    assert picture(library, kind, 200, **{"If-None-Match": '"other"'}).content == first.content


def test_pictures_have_the_size_that_they_are_for(library: Library) -> None:
    shapes = {
        kind: decode_thumbnail(picture(library, kind).content, 4000).shape
        for kind in ("thumbnail", "preview", "faces/1/image")
    }
    assert shapes["thumbnail"] == (384, 512, 3)
    assert shapes["preview"] == (480, 640, 3)
    height, width, _ = shapes["faces/1/image"]
    assert (height, width) < (384, 512)


def test_tags_differ_between_pictures_and_follow_the_settings(library: Library, tmp_path: Path) -> None:
    tags = {picture(library, kind).headers["etag"] for kind in ("thumbnail", "preview", "faces/1/image")}
    assert len(tags) == 3
    with opened(tmp_path, thumbnail_quality=60) as other:
        assert picture(other, "thumbnail").headers["etag"] not in tags


@pytest.mark.parametrize("kind", ["thumbnail", "faces/1/image"])
def test_a_picture_that_there_is_not_is_not_found(library: Library, kind: str) -> None:
    library.get(f"/photos/{library.id_of(DOG)}/{kind}", 404)


def test_a_preview_of_a_file_that_is_gone_says_so(library: Library) -> None:
    answer = library.get(f"/photos/{library.id_of(DOG)}/preview", 422)
    assert answer["error"] == {
        "kind": "photo",
        "message": "the file is gone; it is indexed when it comes back",
    }


def test_previews_are_kept_in_memory(own_library: Library) -> None:
    first = picture(own_library, "preview")
    own_library.real.unlink()
    assert picture(own_library, "preview").content == first.content


def test_what_is_kept_of_previews_is_bounded(own_library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("catalogd.web.pictures.KEPT_PREVIEW_BYTES", 50_000)
    first, second = own_library.id_of(own_library.real), own_library.id_of(own_library.other)
    for photo_id in (first, second, first):
        assert own_library.client.get(f"{API}/photos/{photo_id}/preview").status_code == 200
    assert len(own_library.backend.pictures._kept) == 1


def test_originals_are_given_only_where_the_owner_allows_it(library: Library, tmp_path: Path) -> None:
    assert picture(library, "original", 403).json()["error"]["kind"] == "forbidden"
    with opened(tmp_path, http_originals=True) as open_one:
        answer = picture(open_one, "original")
        assert answer.content == open_one.real.read_bytes()
        assert answer.headers["content-length"] == str(len(answer.content))
        assert picture(open_one, "original", 304, **{"If-None-Match": answer.headers["etag"]}).content == b""


def swapped(library: Library, secret: Path, how: str) -> None:
    """The photo's file becomes a way to another file."""
    stat = library.real.stat()
    library.real.unlink()
    if how == "symlink":
        library.real.symlink_to(secret)
    elif how == "hard link":
        os.link(secret, library.real)
    elif how == "folder":
        library.real.parent.rename(library.folder / "before")
        secret.rename(secret.with_name("real.jpg"))
        library.real.parent.symlink_to(secret.parent)
    elif how == "fifo":
        os.mkfifo(library.real)
    if how not in ("fifo", "folder"):
        os.utime(secret, ns=(stat.st_atime_ns, stat.st_mtime_ns))


@pytest.mark.parametrize("kind", ["preview", "original"])
@pytest.mark.parametrize("how", ["symlink", "hard link", "folder", "fifo"])
def test_a_photo_whose_file_became_another_is_not_given_away(tmp_path: Path, kind: str, how: str) -> None:
    """Somebody swaps the file of a photo for one outside of the library, of the same size and time."""
    with opened(tmp_path / "own", http_originals=True) as library:
        secret = tmp_path / "outside" / "secret.jpg"
        secret.parent.mkdir()
        write_plain_jpeg(secret, scene(64, 64, seed=9))
        os.truncate(secret, library.real.stat().st_size)
        swapped(library, secret, how)
        answer = picture(library, kind, 422 if how == "fifo" else 409)
        assert answer.json()["error"]["kind"] == ("photo" if how == "fifo" else "conflict")


@pytest.mark.parametrize("end", ["..%2f..%2fetc%2fpasswd", "../../../../etc/passwd", "%00", "1/../../x"])
def test_no_path_leads_out_of_the_routes(library: Library, end: str) -> None:
    for kind in ("photos/", "photos/1/", "albums/x/", ""):
        answer = library.client.get(f"{API}/{kind}{end}")
        assert answer.status_code in (400, 404, 405, 422), answer.text
        assert answer.json()["error"]["message"]
