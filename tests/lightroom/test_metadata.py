"""The custom fields: what Lightroom is told of them."""

from __future__ import annotations

from typing import Any, get_args

from catalogd.web.schemas import ResultsGiven
from tests.lightroom.sdk import Lightroom, to_python


def fields(lightroom: Lightroom) -> dict[str, Any]:
    provider = lightroom.control[b"provider"]
    return {row["id"]: row for row in map(to_python, provider[b"metadataFieldsForPhotos"].values())}


def test_fields_are_searchable_browsable_and_not_for_typing() -> None:
    with Lightroom() as lightroom:
        found = fields(lightroom)
        details = to_python(lightroom.require("Changes")[b"DETAILS"])
    assert set(found) == {*details, "written"}
    for name in details:
        row = found[name]
        assert (row["searchable"], row["browsable"], row["readOnly"]) == (True, True, True)
        assert row["title"]


def test_the_note_of_what_was_written_is_hidden() -> None:
    with Lightroom() as lightroom:
        assert fields(lightroom)["written"] == {"id": "written"}


def test_every_band_of_quality_has_a_name_in_lightroom() -> None:
    (bands,) = [
        get_args(part)
        for part in get_args(ResultsGiven.model_fields["quality_band"].annotation)
        if get_args(part)
    ]
    with Lightroom() as lightroom:
        values = fields(lightroom)["quality"]["values"]
    rows = values.values() if isinstance(values, dict) else values
    named = {row["value"] for row in rows if isinstance(row, dict)}
    assert named == set(bands)


def test_the_tagset_shows_fields_that_there_are() -> None:
    with Lightroom() as lightroom:
        shown = lightroom.evaluate("return (require 'Tagset').items")
        known = fields(lightroom)
    ours = [item.rpartition(".")[2] for item in shown if isinstance(item, str) and "catalogd" in item]
    assert ours == ["quality", "sharpness", "faces", "captionSource", "photoId"]
    assert set(ours) < set(known)


def test_a_new_plugin_has_nothing_to_update() -> None:
    with Lightroom() as lightroom:
        lightroom.evaluate("require('MetadataProvider').updateFromEarlierSchemaVersion(nil, nil, nil)")
        assert "writes" not in lightroom.counts
