"""Of a photo that several models tagged, the tags count of the one that was made for it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from catalogd import terminal
from catalogd.catalog import Catalog
from catalogd.query.reasons import _seen_by_models
from catalogd.records import Condition, Output, Record, Tag, tagged_by
from catalogd.settings import Settings
from catalogd.sync.policy import Policy, keywords_of
from tests.catalog.photos import PROFILE, photo

STARTER = Output("starter 1", embedding=b"", tags=(Tag("tabby", 0.9),))


def tagger(*names: str) -> Output:
    return Output("tagger 1", tags=tuple(Tag(name, 0.8) for name in names))


def both(of: Output) -> Record:
    return photo("/a.jpg", outputs={"embedding": STARTER, "tags": of})


@pytest.mark.parametrize(
    ("tags", "counting"),
    [
        (tagger("kitten"), {"tags"}),
        (tagger(), {"tags"}),
        (Output("tagger 1", error="ModelError: no vector"), {"embedding", "tags"}),
        (Output("tagger 1", gate="nothing likely"), {"embedding", "tags"}),
    ],
)
def test_a_tagger_that_did_its_job_outranks_all_others(tags: Output, counting: set[str]) -> None:
    assert tagged_by(both(tags).outputs).keys() == counting


def test_without_a_tagger_all_tags_count() -> None:
    outputs = {"embedding": STARTER, "other": tagger("cat")}
    assert tagged_by(outputs) == outputs


def test_search_reasons_keywords_and_show_have_the_same_tags() -> None:
    record = both(tagger("kitten"))
    said = [piece.text for piece in _seen_by_models(record) if piece.field == "tags"]
    assert said == ["kitten"]
    assert keywords_of(record, Policy()) == (("kitten",),)
    shown = str(terminal.record_text(record))
    assert "kitten 0.80" in shown
    assert "tabby" not in shown


def test_the_catalog_finds_a_photo_by_the_tags_that_count(tmp_path: Path) -> None:
    settings = dataclasses.replace(Settings(), catalog=tmp_path / "catalog")
    with Catalog.open(settings.catalog, settings, write=True) as catalog:
        one, other = both(tagger("kitten")), photo("/b.jpg", outputs={"embedding": STARTER, "tags": tagger()})
        catalog.commit([one, other], PROFILE)
        catalog.follow(force=True)
        assert len(catalog.search_text("kitten", None, 10)) == 1
        assert catalog.search_text("tabby", None, 10) == []
        assert len(catalog.select((Condition("has", words="tags"),)).ids) == 1
        assert list(catalog.check()) == []
