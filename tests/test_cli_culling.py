"""What `catalogd cull` prints, and what it writes only when it is asked to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from catalogd.catalog.user_data import UserData
from catalogd.cli import cli
from catalogd.records import Album, Proposal
from catalogd.settings import Settings
from tests.test_culling import fill, quality, record

QUERY = "name:IMG*"


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    """Three shots of one thing, a bracket, and one that its owner rated."""
    shots = [record(n, n, quality=quality(30.0 * n)) for n in (1, 2, 3)]
    bracket = [record(n, 300 + n, exposure_bias_ev=2.0 * n) for n in (4, 5, 6)]
    rated = [record(7, 900, rating=5, label="Blue"), record(8, 901)]
    fill(Settings(catalog=tmp_path / "catalog"), [*shots, *bracket, *rated], {4: 1, 5: 1, 6: 1, 7: 2, 8: 2})
    return tmp_path / "catalog"


def cull(catalog: Path, *arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(cli, ["--catalog", str(catalog), "cull", *arguments])
    assert result.exit_code == code, result.output
    return result


def user_data(catalog: Path) -> tuple[dict[str, int], dict[int, Proposal]]:
    """Albums with their numbers of photos, and proposals."""
    with UserData(catalog) as user:
        return {album.name: len(album.photo_ids) for album in user.albums()}, user.proposals()


def test_moments_are_shown_with_picks_and_reasons_and_nothing_is_written(catalog: Path) -> None:
    result = cull(catalog, QUERY)
    assert "moment 1: 3 shots, 2024-05-01 10:00:01" in result.stdout
    pick = next(line for line in result.stdout.splitlines() if "IMG_0003" in line)
    assert pick.split()[:2] == ["pick", "1"]
    assert "soft: 30 against 90" in result.stdout
    assert result.stdout.count("bracket of 3: keep all") == 3
    assert "8 photos: 3 moments, 2 picks, 3 alternates, 3 protected; nothing was deleted" in result.stderr
    assert user_data(catalog) == ({}, {})


def test_json_is_one_object_a_moment(catalog: Path) -> None:
    moments = [json.loads(line) for line in cull(catalog, QUERY, "--json").stdout.splitlines()]
    assert [moment["moment"] for moment in moments] == [1, 2, 3]
    assert [shot["role"] for shot in moments[0]["shots"]] == ["pick", "alternate", "alternate"]
    assert moments[0]["shots"][0]["path"] == "/photos/IMG_0003.jpg"
    assert moments[1]["series"] == [
        {"kind": "bracket", "photo_ids": [shot["photo_id"] for shot in moments[1]["shots"]]}
    ]


def test_albums_are_written_when_asked_for_and_again_over_their_own(catalog: Path) -> None:
    cull(catalog, QUERY, "--album", "May")
    assert user_data(catalog)[0] == {"May alternates": 3, "May picks": 2, "May protected": 3}
    cull(catalog, QUERY, "--album", "May", "--keep", "2")
    assert user_data(catalog)[0] == {"May alternates": 1, "May picks": 4, "May protected": 3}


def test_an_album_of_somebody_else_is_left_alone(catalog: Path) -> None:
    with UserData(catalog) as user:
        user.put_album(Album("may PICKS", photo_ids=(1,), made_by="query"))
    assert "'may PICKS' already" in cull(catalog, QUERY, "--album", "May", code=2).stderr
    assert user_data(catalog)[0] == {"may PICKS": 1}


def test_proposals_leave_what_the_owner_said(catalog: Path) -> None:
    cull(catalog, QUERY, "--rating", "picks=3,others=1", "--label", "picks=Green,protected=Yellow")
    proposals = list(user_data(catalog)[1].values())
    said = sorted((one.rating or 0, one.label or "") for one in proposals)
    assert said == [(0, "Yellow")] * 3 + [(1, "")] * 3 + [
        (3, "Green")
    ]  # not the one that is rated and labelled
    assert {one.made_by for one in proposals} == {"cull"}
    assert all(one.reasons for one in proposals)


def test_proposing_again_replaces_what_was_asked_for_then(catalog: Path) -> None:
    cull(catalog, QUERY, "--label", "picks=Green")
    cull(catalog, QUERY, "--rating", "picks=3")
    assert [(one.rating, one.label) for one in user_data(catalog)[1].values()] == [(3, "Green")]
    cull(catalog, QUERY, "--label", "protected=Yellow")
    cull(catalog, QUERY, "--rating", "protected=0")
    said = sorted((one.rating, one.label) for one in user_data(catalog)[1].values())
    assert said == [(0, "Yellow")] * 3


def test_forget_takes_back_the_proposals_of_cull_alone(catalog: Path) -> None:
    cull(catalog, QUERY, "--rating", "picks=3,alternates=1")
    proposals = user_data(catalog)[1]
    other = min(proposals)
    with UserData(catalog) as user:
        user.put_proposals({other: Proposal(label="Red", made_by="dupes")})
    result = cull(catalog, QUERY, "--rating", "alternates=2")
    assert "1 photo left with what another command proposed" in result.stderr
    cull(catalog, QUERY, "--forget")
    assert user_data(catalog)[1] == {other: Proposal(label="Red", made_by="dupes")}


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--rating", "picks=6", "'6' is not a number of stars"),
        ("--rating", "best=3", "'best=3' is none of picks, alternates, protected"),
        ("--label", "picks", "as picks=Green,alternates=Red"),
        ("--contact-sheet", "sheet.png", "must end in .html or .jpg"),
    ],
)
def test_a_wrong_option_is_told_before_anything_is_done(
    catalog: Path, option: str, value: str, message: str
) -> None:
    assert message in cull(catalog, QUERY, option, value, code=2).stderr


def test_a_contact_sheet_has_a_tile_for_each_shot(catalog: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.html"
    cull(catalog, QUERY, "--contact-sheet", str(sheet))
    page = sheet.read_text("utf-8")
    assert page.count("<figure>") == 8
    assert "1.1 pick" in page
    assert "keep all" in page


def test_a_query_that_finds_nothing_says_so(catalog: Path) -> None:
    assert "nothing found" in cull(catalog, "name:nothing", code=1).stderr
