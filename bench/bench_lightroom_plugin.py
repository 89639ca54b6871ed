"""The Lightroom plugin on many photos: what it asks of the daemon and of Lightroom, and what it costs.

    python bench/bench_lightroom_plugin.py [--photos 10000]

The real plugin files run in the tests' Lightroom (tests/lightroom/sdk.py), which counts calls, against a
catalog of as many photos, served by a process of its own. The baseline is the lookups alone: the same
requests sent by Python's http.client. CPU time is of the process with Lightroom.
"""

from __future__ import annotations

import argparse
import http.client
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from urllib.parse import urlsplit

import measure

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.lightroom import sdk
from tests.lightroom.daemon import Daemon
from tests.lightroom.results import library
from tests.lightroom.sdk import Dialog, Lightroom

PART = 200  # photos in a request, as the plugin sends them
LONGEST_S = 1800.0  # of one question, on a machine with other work
COUNTED = ("requests", "gates", "batch_reads", "single_reads", "keywords_made", "writes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--photos", type=int, default=10_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        here, there = multiprocessing.Pipe()
        spawned = multiprocessing.get_context("spawn")
        process = spawned.Process(target=_serve, args=(there, folder, arguments.photos), daemon=True)
        process.start()
        address, token = here.recv()
        _measure(address, token, arguments.photos)
        here.send(None)
        process.join()


def _serve(connection: Connection, folder: str, photos: int) -> None:
    with Daemon(Path(folder), library(photos)) as daemon:
        connection.send((daemon.address, daemon.token))
        connection.recv()


def _measure(address: str, token: str, count: int) -> None:
    sdk.STUCK_S = LONGEST_S
    paths = [f"/lib/p/{number:05d}.jpg" for number in range(1, count + 1)]
    baseline = measure.timed(lambda: _look_up(address, token, paths))
    measure.report("lookups alone, by http.client", photos=count, wall_s=baseline)
    preferences, passwords = {"address": address}, {"catalogd api token": token}
    with Lightroom(preferences=preferences, passwords=passwords) as lightroom:
        photos = [lightroom.add_photo(path, rating=3, keywords=[("Animals", "Dog")]) for path in paths]
        lightroom.select(*photos)
        for question, work in _questions(lightroom):
            _ask(lightroom, question, work, count, baseline)


def _look_up(address: str, token: str, paths: list[str]) -> None:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    for first in range(0, len(paths), PART):
        connection = http.client.HTTPConnection(urlsplit(address).netloc)
        body = json.dumps({"paths": paths[first : first + PART], "fields": ["results"]})
        connection.request("POST", "/api/v1/photos/lookup", body, headers)
        json.loads(connection.getresponse().read())
        connection.close()


def _agree(dialog: Dialog) -> str:
    return "ok"


def _all(dialog: Dialog) -> str:
    dialog.set("scope", "all")
    return "ok"


def _questions(lightroom: Lightroom) -> list[tuple[str, Callable[[], None]]]:
    return [
        ("read from Lightroom", lambda: lightroom.menu("Read.lua", _all)),
        ("read again, nothing edited", lambda: lightroom.menu("Read.lua", _all)),
        ("write results", lambda: lightroom.menu("Write.lua", _agree, _agree)),
        ("write again, nothing new", lambda: lightroom.menu("Write.lua", _agree)),
        ("take back", lambda: lightroom.menu("TakeBack.lua", _agree, _agree)),
    ]


def _ask(lightroom: Lightroom, question: str, work: Callable[[], None], photos: int, baseline: float) -> None:
    lightroom.reset_counts()
    cpu, started = time.process_time(), time.monotonic()
    work()
    wall = time.monotonic() - started
    counts = {name: lightroom.counts.get(name, 0) for name in COUNTED}
    measure.report(
        question,
        photos=photos,
        wall_s=wall,
        cpu_s=time.process_time() - cpu,
        times_baseline=wall / baseline,
        photos_a_request=photos / counts["requests"] if counts["requests"] else None,
        photos_a_gate=photos / counts["gates"] if counts["gates"] else None,
        **counts,
    )


if __name__ == "__main__":
    main()
