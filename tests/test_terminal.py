"""What a terminal shows: names that look like markup, escape sequences, links, bytes that are no text."""

from __future__ import annotations

import dataclasses
import io
import re

import pytest
from rich.console import Console, RenderableType
from rich.live import Live

from catalogd import terminal
from catalogd.cli import run
from catalogd.daemon import Progress
from catalogd.records import (
    Answer,
    Facts,
    Failure,
    Hit,
    Output,
    Place,
    Record,
    Region,
    Sidecar,
    Signal,
    Stat,
    UserFacts,
)
from catalogd.sync import Synced
from catalogd.sync.report import SHOWN_REFUSALS, Tally
from catalogd.sync.sidecar import Written

ESC = "\x1b"


def shown(renderable: RenderableType, *, links: bool = False) -> str:
    stream = io.StringIO()
    Console(file=stream, width=1000, force_terminal=links, highlight=False).print(renderable)
    return stream.getvalue()


def failure(path: bytes, message: str = "it is empty") -> Failure:
    return Failure(path, Stat(0, 0), "read", "unreadable", message)


def progress(*, state: str = "done", notes: tuple[str, ...] = (), offline: tuple[str, ...] = ()) -> Progress:
    return Progress(
        state=state,
        scanning=False,
        total=1,
        done=1,
        failed=0,
        moved=0,
        missing=0,
        unchanged=0,
        model_errors={},
        rate=0.0,
        eta_s=None,
        limit="-",
        ring_used=0,
        ring_slots=0,
        elapsed_s=1.0,
        offline=offline,
        notes=notes,
    )


@pytest.mark.parametrize("name", ["photo [copy].jpg", "a[/b].jpg", "[red]x[/red].jpg", "[link=x]y.jpg"])
def test_a_name_that_looks_like_markup_is_shown_as_it_is(name: str) -> None:
    """`photo [copy].jpg` lost its brackets, and `a[/b].jpg` ended `catalogd failures` with a traceback."""
    message = f"can't open {name}"
    text = shown(terminal.failures_table([failure(name.encode(), message)]))
    assert text.count(name) == 2
    assert name in shown(terminal.hits_table([Hit(1, name.encode(), 1.0, ())], links=False))


def test_the_live_view_ends_with_the_notes_as_they_are() -> None:
    """A note that names `a[/b]` ended the run with a MarkupError."""
    stream = io.StringIO()
    with Live(console=Console(file=stream, width=1000), transient=True) as live:
        show = run._LiveReporter(live)
        for api in ("", "http://[::1]:8766", "http://[::1]:8766"):
            show(dataclasses.replace(progress(), state="watching", api=api))
        show(progress(notes=(f"can't read /x/a[/b]: {ESC}[2J no",), offline=("/disk [old]",)))
    assert stream.getvalue().count("API at http://[::1]:8766") == 1
    assert "can't read /x/a[/b]: \\x1b[2J no" in stream.getvalue()
    assert "offline: /disk [old]" in stream.getvalue()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("plain é 山.jpg", "plain é 山.jpg"),
        (f"a{ESC}[2J\r\nb\x9b\t", "a\\x1b[2J\\r\\nb\\x9b\\t"),
        ("\u202egpj.exe", "\\u202egpj.exe"),
        (b"caf\xe9 \x1b.jpg", "caf\\xe9 \\x1b.jpg"),
        ("caf\udce9.jpg", "caf\\xe9.jpg"),
        ("\ud83d alone", "\\ud83d alone"),
    ],
)
def test_escaped_text_is_one_line_of_printable_utf8(text: str | bytes, wanted: str) -> None:
    assert terminal.escaped(text) == wanted
    wanted.encode()


def test_escape_sequences_of_a_decoder_or_a_mount_do_not_reach_the_terminal() -> None:
    hostile = f"bad{ESC}]0;title\x07 \udcff"
    told = progress(offline=(hostile,))
    for text in (
        shown(terminal.failures_table([failure(b"x.jpg", hostile)])),
        shown(terminal.progress_view(told)),
        terminal.progress_line(told),
        "".join(terminal.summary(told)),
    ):
        assert ESC not in text
        assert "bad\\x1b]0;title\\x07 \\xff" in text


@pytest.mark.parametrize(
    ("path", "address"),
    [
        (b"/photos/a b#1 100%.jpg", "file:///photos/a%20b%231%20100%25.jpg"),
        (b"/photos/caf\xe9 [x].jpg", "file:///photos/caf%E9%20%5Bx%5D.jpg"),
    ],
)
def test_a_hit_links_to_its_file(path: bytes, address: str) -> None:
    """A space, % or # in a path broke the link: it was built as a style's text."""
    table = terminal.hits_table([Hit(1, path, 0.5, (Signal("words", 1, 0.5, ("tags",)),))], links=True)
    assert re.findall(ESC + r"\]8;[^;]*;([^\x1b]+)" + ESC, shown(table, links=True)) == [address]


def lines_of(facts: Facts, user: UserFacts | None = None) -> dict[str, str]:
    """Label → text of what `catalogd show` prints of a photo."""
    record = Record(b"/a.jpg", Stat(2048, 1), b"", facts, {}, photo_id=7, user=user)
    rows = terminal.record_text(record).plain.splitlines()[1:]
    return {row[2:17].strip(): row[17:] for row in rows}


def test_show_says_what_was_set_in_lightroom() -> None:
    user = UserFacts(
        source="lightroom",
        rating=4,
        pick=1,
        title="Harvest",
        keywords=("wheat",),
        collections=("Best", "Trips/2023"),
        stack=("s", 2),
        develop=("cropped", "black_and_white"),
        copies=(UserFacts(copy_name="Sepia", rating=2, keywords=("toned",)),),
    )
    lines = lines_of(Facts("jpeg", 4, 3, title="Harvest", rating=2, label="Red", keywords=("field",)), user)
    assert lines["title"] == "Harvest", "the file says so too"
    assert lines["label"] == "Red"
    assert lines["rating"] == "4 of 5  (Lightroom)"
    assert lines["keywords"] == "wheat  (Lightroom)"
    assert lines["flag"] == "picked  (Lightroom)"
    assert lines["collections"] == "Best, Trips/2023  (Lightroom)"
    assert lines["stacked"] == "2 in its stack  (Lightroom)"
    assert lines["developed"] == "cropped, black and white  (Lightroom)"
    assert lines["virtual copy"] == "Sepia, 2 of 5, toned"


def test_show_says_what_was_taken_out_in_lightroom() -> None:
    user = UserFacts(source="lightroom", emptied=("rating", "caption", "latitude"))
    lines = lines_of(Facts("jpeg", 4, 3, rating=2, caption="c", title="t"), user)
    assert lines["taken out"] == "stars, caption, position  (Lightroom)"
    assert lines["title"] == "t"
    assert lines.keys() & {"rating", "caption"} == set()


def test_show_says_that_a_photo_with_stars_was_rejected() -> None:
    lines = lines_of(Facts("jpeg", 4, 3), UserFacts(source="lightroom", rating=4, pick=-1))
    assert lines["rating"] == "rejected  (Lightroom)"
    assert lines["stars"] == "4 of 5, but rejected  (Lightroom)"


def test_show_prints_every_fact_that_a_photo_has() -> None:
    facts = Facts(
        "jpeg",
        6000,
        4000,
        camera="NIKON Z 8",
        camera_serial="6001234",
        lens="NIKKOR Z 35mm f/1.8 S",
        iso=640,
        exposure_s=0.004,
        aperture=2.8,
        focal_mm=35.0,
        focal_35mm=52.0,
        exposure_bias_ev=-1 / 3,
        flash=False,
        metering="pattern",
        white_balance="auto",
        colour_space="adobe-rgb",
        software="Capture One",
        taken_at="2024-05-01T17:30:15.25+02:00",
        zone="gps",
        latitude=60.3929,
        longitude=5.3242,
        altitude_m=12.4,
        direction_deg=271.0,
        place=Place("NO", "Norway", "Vestland", "Bergen", "Sandviken", 1.2),
        title="Wharves",
        caption="After the rain",
        keywords=("harbour", "rain"),
        keyword_paths=("Travel|Norway",),
        rating=4,
        label="Red",
        people=("Anna",),
        regions=(Region((0.1, 0.2, 0.3, 0.4), "Anna"),),
        creator="Kari",
        copyright="© Kari",
        marks=("panorama", "hdr"),
        burst_id="B1",
        live_photo_id="L1",
        sidecars=(Sidecar(b"a\xff.xmp", Stat(1, 1)),),
    )
    assert lines_of(facts) == {
        "photo_id": "7",
        "file": "jpeg, 6000×4000 px, 2.0 KiB",
        "read by": "full",
        "camera": "NIKON Z 8, serial 6001234",
        "lens": "NIKKOR Z 35mm f/1.8 S, 35 mm, 52 mm on 36×24",
        "exposure": "1/250 s, f/2.8, ISO 640, -0.33 EV, no flash, pattern metering, auto white balance",
        "colour space": "adobe-rgb",
        "software": "Capture One",
        "taken": "2024-05-01 17:30:15.25+02:00 (zone by GPS)",
        "place": "Sandviken (1.2 km), Bergen, Vestland, Norway",
        "position": "60.39290, 5.32420, 12 m above the sea, towards 271°",
        "marks": "panorama, hdr",
        "burst": "B1",
        "live photo": "L1",
        "title": "Wharves",
        "caption": "After the rain",
        "keywords": "harbour, rain, Travel|Norway",
        "people": "Anna",
        "marked": "Face, Anna at 0.10×0.20×0.30×0.40",
        "rating": "4 of 5",
        "label": "Red",
        "creator": "Kari",
        "copyright": "© Kari",
        "sidecars": "a\\xff.xmp",
    }


def test_show_leaves_out_what_is_not_known() -> None:
    assert set(lines_of(Facts("png", 4, 3))) == {"photo_id", "file", "read by"}
    assert lines_of(Facts("png", 4, 3, rating=-1))["rating"] == "rejected"
    here = Place("NO", "Norway", city="Bergen", nearest="Bergen")
    assert lines_of(Facts("png", 4, 3, place=here))["place"] == "Bergen, Norway"


def test_show_prints_what_models_wrote_and_why_one_was_left_out() -> None:
    answers = (Answer("Is it indoors?", "no"), Answer("Who?", f"a d{ESC}og"))
    outputs = {
        "caption": Output("florence 1", caption="A dog\non a beach.", answers=answers),
        "aesthetics": Output("head 1", aesthetics=6.47),
        "faces": Output("scrfd 1", faces=(), gate="no person is likely"),
    }
    record = Record(b"/a.jpg", Stat(1, 1), b"." * 16, Facts("png", 4, 3), outputs)
    text = shown(terminal.record_text(record))
    for line in (
        "caption        A dog\\non a beach.",
        "answer         Is it indoors? no",
        "answer         Who? a d\\x1bog",
        "aesthetics     6.5 of 10",
        "left out       no person is likely",
    ):
        assert line in text


def test_escape_sequences_in_facts_do_not_reach_the_terminal() -> None:
    text = lines_of(Facts("jpeg", 4, 3, caption=f"bad{ESC}[2J\ncaption", keywords=(f"k{ESC}",)))
    assert text["caption"] == "bad\\x1b[2J\\ncaption"
    assert text["keywords"] == "k\\x1b"


def test_the_summary_of_a_sync_names_refusals_with_their_reasons_up_to_a_bound() -> None:
    tally = Tally()
    for number in range(SHOWN_REFUSALS + 2):
        written = Written(b"/p/%d\n.xmp" % number, "refused", reason="it is damaged")
        tally.add(Synced(b"/p/%d.jpg" % number, written), "refused")
    lines = terminal.sync_summary(tally, "20260101-000000-000000", False)
    assert f"{SHOWN_REFUSALS + 2} refused" in lines[0]
    assert lines[1] == "refused: /p/0\\n.xmp: it is damaged"
    assert lines[-2] == "refused: 2 more; --json names them all"
    assert "--undo 20260101-000000-000000" in lines[-1]


def test_changes_of_a_sidecar_are_shown_property_by_property_and_cut() -> None:
    row = {
        "path": "/p/a.jpg.xmp",
        "state": "to_write",
        "reason": None,
        "differences": [
            {"name": "dc:subject", "before": ["old"], "after": ["old", "dog"]},
            {"name": "catalogd:OcrText", "before": None, "after": "x\n" * 300},
        ],
    }
    lines = terminal.synced_lines(row)
    assert lines[:3] == [
        "/p/a.jpg.xmp: to write",
        '  - dc:subject: ["old"]',
        '  + dc:subject: ["old", "dog"]',
    ]
    assert lines[3].startswith("  + catalogd:OcrText: x\\nx")
    assert len(lines[3]) < 300


def test_the_model_that_is_being_loaded_is_named() -> None:
    loading = dataclasses.replace(progress(state="loading"), loading=("tags",))
    assert terminal.progress_line(loading).startswith("loading tags: 1/1 photos")
    assert "loading tags" in shown(terminal.progress_view(loading))
    assert terminal.progress_line(dataclasses.replace(loading, state="draining")).startswith("draining:")


def test_a_note_that_takes_the_place_of_another_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    report = run._PlainReporter()
    for notes in (("at most 8",), ("at most 8",), ("at most 4",)):
        report(progress(state="indexing", notes=notes))
    assert capsys.readouterr().err == "at most 8\nat most 4\n"
