"""What the catalog knows as plain values: whose a caption is."""

from __future__ import annotations

import pytest

from catalogd.json_forms import caption_that_counts
from catalogd.records import Facts, Output, Record, UserFacts
from tests.catalog.photos import photo

BY_MODEL = Output("florence 1", caption="A dog.")


@pytest.mark.parametrize(
    ("record", "caption"),
    [
        (photo("/a.jpg"), (None, None)),
        (photo("/a.jpg", outputs={"caption": BY_MODEL}), ("A dog.", "florence 1")),
        (photo("/a.jpg", outputs={"caption": BY_MODEL}, user=UserFacts(caption="Rex")), ("Rex", "person")),
        (
            photo("/a.jpg", outputs={"caption": BY_MODEL}, facts=Facts("jpeg", 4, 3, caption="Rex")),
            ("Rex", "person"),
        ),
    ],
)
def test_a_person_s_caption_counts_before_a_model_s(record: Record, caption: tuple[str, str]) -> None:
    assert caption_that_counts(record) == caption
