"""Culling over HTTP: the same moments as `catalogd cull`, and nothing written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from starlette.testclient import TestClient

from catalogd.catalog.user_data import UserData
from catalogd.cli import cli
from catalogd.settings import Settings
from catalogd.web import schemas
from catalogd.web.api import create_app
from catalogd.web.backend import Backend
from tests.test_culling import fill, quality, record
from tests.web.library import API


@pytest.fixture(scope="module")
def shoot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """Three shots of one thing, and a bracket."""
    settings = Settings(catalog=tmp_path_factory.mktemp("shoot") / "catalog")
    shots = [record(n, n, quality=quality(30.0 * n)) for n in (1, 2, 3)]
    bracket = [record(n, 300 + n, exposure_bias_ev=2.0 * n) for n in (4, 5, 6)]
    fill(settings, [*shots, *bracket], {4: 1, 5: 1, 6: 1})
    with Backend(settings) as backend, TestClient(create_app(backend)) as client:
        yield client


def culled(client: TestClient, body: dict[str, Any], status: int = 200) -> Any:
    answer = client.post(f"{API}/cull", json=body)
    assert answer.status_code == status, answer.text
    if status == 200:
        schemas.CullAnswer.model_validate(answer.json(), strict=True)
    return answer.json()


def settings_of(client: TestClient) -> Settings:
    return client.app.state.backend.settings  # type: ignore[attr-defined, no-any-return]


def test_moments_come_with_picks_ranks_and_reasons(shoot: TestClient) -> None:
    answer = culled(shoot, {"q": "name:IMG*"})
    moment, bracket = answer["moments"]
    assert (moment["kind"], bracket["kind"], answer["photos"]) == ("moment", "bracket", 6)
    assert [(Path(one["path"]).name, one["state"], one["rank"]) for one in moment["shots"]] == [
        ("IMG_0003.jpg", "pick", 1),
        ("IMG_0002.jpg", "alternate", 2),
        ("IMG_0001.jpg", "alternate", 3),
    ]
    assert {one["state"] for one in bracket["shots"]} == {"protected"}
    assert bracket["shots"][0]["reasons"] == ["bracket of 3: keep all"]
    assert bracket["series"][0]["photo_ids"] == [one["photo_id"] for one in bracket["shots"]]


def test_they_are_those_of_the_command(shoot: TestClient) -> None:
    arguments = ["--catalog", str(settings_of(shoot).catalog), "cull", "name:IMG*", "--json"]
    printed = [json.loads(line) for line in CliRunner().invoke(cli, arguments).stdout.splitlines()]
    answered = culled(shoot, {"q": "name:IMG*"})["moments"]
    assert [one["start"] for one in answered] == [one["taken_at"] for one in printed]
    for mine, theirs in zip(answered, printed, strict=True):
        shots = [{**shot, "role": shot.pop("state")} for shot in mine["shots"]]
        assert [{key: shot[key] for key in theirs["shots"][0]} for shot in shots] == theirs["shots"]


def test_photos_may_be_named_and_so_many_kept(shoot: TestClient) -> None:
    (moment, _) = culled(shoot, {"q": ""})["moments"]
    ids = [one["photo_id"] for one in moment["shots"]]
    (again,) = culled(shoot, {"photo_ids": [*ids, ids[0], 99], "keep": 2})["moments"]
    assert [one["state"] for one in again["shots"]] == ["pick", "pick", "alternate"]


def test_more_photos_than_are_looked_at_are_told(shoot: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("catalogd.web.schemas.MOST_CULLED", 2)
    answer = culled(shoot, {"q": ""})
    assert answer["photos"] == 2
    assert {Path(shot["path"]).name for one in answer["moments"] for shot in one["shots"]} == {
        "IMG_0005.jpg",
        "IMG_0006.jpg",
    }
    assert answer["notes"] == ["only the newest 2 of 6 photos were looked at; date: or in: narrows the query"]


def test_nothing_is_written(shoot: TestClient) -> None:
    culled(shoot, {"q": ""})
    with UserData(settings_of(shoot).catalog) as user:
        assert (user.albums(), user.proposals()) == ([], {})


@pytest.mark.parametrize("body", [{}, {"q": "", "photo_ids": []}])
def test_what_to_cull_is_said_in_one_way(shoot: TestClient, body: dict[str, Any]) -> None:
    assert culled(shoot, body, 400)["error"]["message"] == "give either q or photo_ids"


@pytest.mark.parametrize("body", [{"q": "", "keep": 0}, {"photo_ids": [0]}, {"photo_ids": [1] * 10_001}])
def test_bounds_are_kept(shoot: TestClient, body: dict[str, Any]) -> None:
    assert culled(shoot, body, 422)["error"]["kind"] == "validation"
