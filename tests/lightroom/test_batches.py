"""Many photos at a time: chunks, cancelling, gates that are held, what a gate costs."""

from __future__ import annotations

from typing import Any

import pytest

from tests.lightroom.sdk import Lightroom

WRITE = """
local Batches, LrApplication = require 'Batches', import 'LrApplication'
local catalog = LrApplication.activeCatalog()
"""


def title_all(lightroom: Lightroom, body: str = "photo:setRawMetadata('title', 'new')") -> Any:
    source = (
        WRITE
        + """
    local scope = import('LrProgressScope')({ title = 'writing' })
    return Batches.each(catalog:getAllPhotos(), scope, function(part)
        local values = Batches.read(catalog, part, { 'path' }, { 'title' })
        return Batches.write(catalog, 'Titles', function()
            for _, photo in ipairs(part) do if values[photo].path then """
        + body
        + """ end end
        end)
    end)
    """
    )
    return lightroom.evaluate(source)


def test_ten_thousand_photos_are_a_gate_and_two_reads_for_two_hundred(lightroom: Lightroom) -> None:
    photos = [lightroom.add_photo(f"/{number}.jpg") for number in range(10_000)]
    assert title_all(lightroom) == (10_000, None, False)
    assert lightroom.counts["gates"] == 50
    assert lightroom.counts["batch_reads"] == 100
    assert "single_reads" not in lightroom.counts
    assert len(lightroom.undo_steps) == 50
    assert lightroom.photo(photos[-1])["values"]["title"] == "new"
    assert lightroom.undo() == "Titles"
    assert "title" not in lightroom.photo(photos[-1])["values"]
    assert lightroom.photo(photos[0])["values"]["title"] == "new", "the other steps stay"


def test_cancelling_keeps_what_is_done_and_begins_nothing_else(lightroom: Lightroom) -> None:
    photos = [lightroom.add_photo(f"/{number}.jpg") for number in range(1000)]
    lightroom.cancel_at(400)
    assert title_all(lightroom) == (600, None, True)
    assert "title" in lightroom.photo(photos[599])["values"]
    assert "title" not in lightroom.photo(photos[600])["values"]


def test_a_gate_that_is_held_is_waited_for(lightroom: Lightroom) -> None:
    lightroom.add_photo("/a.jpg")
    lightroom.contend(2)
    assert title_all(lightroom) == (1, None, False)
    assert lightroom.counts["gates_asked"] == 3


def test_a_catalog_that_stays_held_is_said_and_nothing_is_counted_as_done(lightroom: Lightroom) -> None:
    photo = lightroom.add_photo("/a.jpg")
    lightroom.contend(3)
    done, failure, cancelled = title_all(lightroom)
    assert (done, failure, cancelled) == (0, {"kind": "busy", "message": "Titles"}, False)
    assert "title" not in lightroom.photo(photo)["values"]
    lightroom.evaluate("require('Batches').report(...)", failure)
    assert "busy" in lightroom.messages[-1]
    assert "Titles" in lightroom.messages[-1]


def test_a_change_that_lightroom_refuses_takes_its_part_back_and_stops(lightroom: Lightroom) -> None:
    photos = [lightroom.add_photo(f"/{number}.jpg") for number in range(300)]
    body = "photo:setRawMetadata('title', 'new') if values[photo].path == '/250.jpg' then error('no') end"
    done, failure, _ = title_all(lightroom, body)
    assert done == 200
    assert failure["kind"] == "failed"
    assert "title" not in lightroom.photo(photos[240])["values"]
    assert "title" in lightroom.photo(photos[199])["values"]
    lightroom.evaluate("require('Batches').report(...)", failure)
    assert "no" in lightroom.messages[-1]


@pytest.mark.parametrize(("count", "size", "sizes"), [(0, 3, []), (3, 3, [3]), (7, 3, [3, 3, 1])])
def test_parts(lightroom: Lightroom, count: int, size: int, sizes: list[int]) -> None:
    source = """
    local list, count, size = {}, ...
    for number = 1, count do list[number] = number end
    local sizes = {}
    for place, part in ipairs(require('Batches').parts(list, size)) do sizes[place] = #part end
    return table.concat(sizes, ',')
    """
    assert lightroom.evaluate(source, count, size) == ",".join(map(str, sizes))


def test_failures_of_the_api_are_reported_as_the_api_says_them(lightroom: Lightroom) -> None:
    lightroom.evaluate("require('Batches').report({ kind = 'down', address = 'http://127.0.0.1:1' })")
    assert "catalogd run ~/Pictures" in lightroom.messages[-1]
