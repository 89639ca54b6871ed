"""What does HTTP add to a search, and do many clients, or slow ones, get in each other's way?

`catalogd serve` on the library of bench/search_set.py, asked over loopback, beside the same questions asked
of a `Searcher` in this process. Each a line:

    search    wall of a search of 20 hits, and the CPU of the server; reach: p50 30 ms at 500,000 photos
    many      200 clients at once, each with questions of its own; reach: no error
    slow      searches while clients send a byte a second, and others do not read their long answers
    pictures  thumbnails a second, one client and eight, and those that a client has already
    lookup    photos by 200 paths, as the Lightroom plugin asks, with summary and results

    python bench/bench_api.py [--photos 500000] [--queries 200] [--catalog FOLDER] [--only search many …]

A catalog that is given is only read: what the server writes lies in a folder beside links to its parts.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import random
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from bench_search import CASES, query_texts
from measure import CATALOGD, percentiles, report, timed
from search_set import fill_to_search

from catalogd.catalog import Catalog
from catalogd.query.searcher import Searcher
from catalogd.records import Record
from catalogd.settings import Settings
from catalogd.thumbnails import ThumbnailStore

LIMIT = 20
ASKED_CASES = ("no filter", "1 %", "3 filters, text, person")
WARM_UP = 20
CLIENTS, QUESTIONS_EACH = 200, 3
SLOW_SENDERS, SLOW_READERS = 40, 20
PICTURES, PICTURE_PX = 500, 512
LOOKED_UP = 200
START_S = 120.0
QUESTIONS = ("search", "many", "slow", "pictures", "lookup")


class Server(NamedTuple):
    port: int
    token: str
    pid: int

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def cpu_s(self) -> float:
        """User and system time so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def get(server: Server, connection: http.client.HTTPConnection, path: str, **more: str) -> bytes:
    """The answer's body. Raises RuntimeError for an error."""
    connection.request("GET", f"/api/v1{path}", headers=server.headers() | more)
    answer = connection.getresponse()
    body = answer.read()
    if answer.status not in (200, 304):
        raise RuntimeError(f"{answer.status}: {body[:200]!r}")
    return body


def search_path(text: str) -> str:
    return "/search?" + urllib.parse.urlencode({"q": text, "limit": LIMIT})


@contextlib.contextmanager
def served(settings: Settings) -> Iterator[Server]:
    command = [CATALOGD, "--catalog", str(settings.catalog), "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield _started(settings.catalog, process)
        finally:
            process.terminate()


def _started(folder: Path, process: subprocess.Popen[bytes]) -> Server:
    end = time.monotonic() + START_S
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError, ValueError):
            said = json.loads((folder / "server.json").read_text())
            if said["pid"] == process.pid:
                port = urllib.parse.urlsplit(said["url"]).port or 0
                return Server(port, (folder / "api.token").read_text().strip(), process.pid)
        time.sleep(0.1)
    raise RuntimeError("the server did not start")


# -- questions -------------------------------------------------------------------------------------


def measure_search(server: Server, settings: Settings, texts: list[str]) -> None:
    with Searcher(settings) as searcher, contextlib.closing(server.connect()) as connection:
        for place, case in enumerate(ASKED_CASES):
            for text in texts[:WARM_UP]:
                get(server, connection, search_path(CASES[case].format(f"{text} photo")))
                searcher.search(CASES[case].format(f"{text} photo"), LIMIT)
            own = texts[place :: len(ASKED_CASES)]  # each text is asked once, so that each is encoded
            _measure_case(server, connection, searcher, case, own)


def _measure_case(
    server: Server, connection: http.client.HTTPConnection, searcher: Searcher, case: str, texts: list[str]
) -> None:
    over_http, direct, cpu_s, direct_cpu_s = [], [], 0.0, 0.0
    for asked in map(CASES[case].format, texts):
        before = server.cpu_s()
        over_http.append(timed(lambda asked=asked: get(server, connection, search_path(asked))))
        cpu_s += server.cpu_s() - before
        before = time.process_time()
        direct.append(timed(lambda asked=asked: searcher.search(asked, LIMIT)))
        direct_cpu_s += time.process_time() - before
    (p50, p99), (direct_50, direct_99) = percentiles(over_http), percentiles(direct)
    report(
        f"api, search, {case}",
        ours={"p50_ms": p50, "p99_ms": p99, "cpu_ms": round(1000 * cpu_s / len(texts), 2)},
        searcher={
            "p50_ms": direct_50,
            "p99_ms": direct_99,
            "cpu_ms": round(1000 * direct_cpu_s / len(texts), 2),
        },
        ratio=round(p50 / direct_50, 2),
        reach={"p50_ms": 30},
    )


def at_once(count: int, work: Callable[[int], None]) -> list[str]:
    """Run `work` in so many threads; what went wrong."""
    wrong: list[str] = []

    def run(number: int) -> None:
        try:
            work(number)
        except (OSError, RuntimeError, http.client.HTTPException) as error:
            wrong.append(f"{type(error).__name__}: {error}")

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return wrong


def measure_many(server: Server, texts: list[str]) -> None:
    times: list[float] = []

    def client(number: int) -> None:
        draw = random.Random(number)
        with contextlib.closing(server.connect()) as connection:
            for _ in range(QUESTIONS_EACH):
                path = search_path(draw.choice(texts))
                times.append(timed(lambda path=path: get(server, connection, path)))

    started, cpu = time.perf_counter(), server.cpu_s()
    wrong = at_once(CLIENTS, client)
    wall_s = time.perf_counter() - started
    p50, p99 = percentiles(times)
    report(
        f"api, {CLIENTS} clients at once",
        errors=len(wrong),
        first_error=wrong[0] if wrong else None,
        searches=len(times),
        per_s=round(len(times) / wall_s, 1),
        cpu_ms=round(1000 * (server.cpu_s() - cpu) / max(len(times), 1), 2),
        p50_ms=p50,
        p99_ms=p99,
        reach={"errors": 0},
    )


def measure_slow(server: Server, texts: list[str]) -> None:
    with contextlib.closing(server.connect()) as connection:

        def p50() -> tuple[float, float]:
            return percentiles(
                [timed(lambda t=text: get(server, connection, search_path(t))) for text in texts]
            )

        p50()
        before = p50()
        stopping = threading.Event()
        threads = [
            threading.Thread(target=_send_slowly, args=(server, stopping)) for _ in range(SLOW_SENDERS)
        ]
        threads += [
            threading.Thread(target=_read_slowly, args=(server, stopping)) for _ in range(SLOW_READERS)
        ]
        for thread in threads:
            thread.start()
        time.sleep(5)  # the long answers have filled what is between server and client
        meanwhile = p50()
        stopping.set()
        for thread in threads:
            thread.join()
    report(
        f"api, searches beside {SLOW_SENDERS} slow senders and {SLOW_READERS} slow readers",
        ours={"p50_ms": meanwhile[0], "p99_ms": meanwhile[1]},
        alone={"p50_ms": before[0], "p99_ms": before[1]},
        ratio=round(meanwhile[0] / before[0], 2),
    )


def _send_slowly(server: Server, stopping: threading.Event) -> None:
    """A request, a byte a second."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", server.port)) as connection:
        for byte in b"GET /api/v1/health HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Long: " + b"x" * 1000:
            if stopping.wait(1.0):
                return
            connection.send(bytes([byte]))


def _read_slowly(server: Server, stopping: threading.Event) -> None:
    """All photos as lines, of which hardly any are read."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", server.port)) as connection:
        head = "\r\n".join(f"{name}: {value}" for name, value in server.headers().items())
        accept = "Accept: application/x-ndjson"
        connection.send(
            f"GET /api/v1/photos HTTP/1.1\r\nHost: 127.0.0.1\r\n{head}\r\n{accept}\r\n\r\n".encode()
        )
        while not stopping.wait(1.0):
            connection.recv(100)


def measure_pictures(server: Server, settings: Settings, records: list[Record]) -> None:
    store = ThumbnailStore(settings)
    frame = np.random.default_rng(1).integers(0, 255, (PICTURE_PX // 8, PICTURE_PX // 8, 3), np.uint8)
    pixels = np.ascontiguousarray(frame.repeat(8, axis=0).repeat(8, axis=1))
    for record in records:
        store.put(record.content, pixels)
    direct_s = timed(lambda: [store.get(record.content) for record in records])
    tags: dict[int, str] = {}

    def client(share: list[Record], known: bool) -> None:
        with contextlib.closing(server.connect()) as connection:
            for record in share:
                more = {"If-None-Match": tags[record.photo_id]} if known else {}
                path = f"/api/v1/photos/{record.photo_id}/thumbnail"
                connection.request("GET", path, headers=server.headers() | more)
                answer = connection.getresponse()
                answer.read()
                if answer.status != (304 if known else 200):
                    raise RuntimeError(str(answer.status))
                tags[record.photo_id] = answer.headers["ETag"]

    one_s, cpu = timed(lambda: client(records, False)), server.cpu_s()
    wrong: list[str] = []
    eight_s = timed(lambda: wrong.extend(at_once(8, lambda number: client(records[number::8], False))))
    cpu_s = server.cpu_s() - cpu
    known_s = timed(lambda: client(records, True))
    report(
        "api, thumbnails a second",
        one_client=round(len(records) / one_s),
        eight_clients=round(len(records) / eight_s),
        cpu_ms=round(1000 * cpu_s / len(records), 2),
        had_already=round(len(records) / known_s),
        store=round(len(records) / direct_s),
        bytes=len(store.get(records[0].content) or b""),
        errors=len(wrong),
    )


def measure_lookup(server: Server, records: list[Record]) -> None:
    times: dict[str, list[float]] = {"summary": [], "results": []}
    with contextlib.closing(server.connect()) as connection:
        for start in range(0, len(records) - LOOKED_UP, LOOKED_UP):
            for field, walls in times.items():
                paths = [record.name for record in records[start : start + LOOKED_UP]]
                body = json.dumps({"paths": paths, "fields": [field]})

                def ask(body: str = body) -> None:
                    headers = server.headers() | {"Content-Type": "application/json"}
                    connection.request("POST", "/api/v1/photos/lookup", body, headers)
                    found = json.loads(connection.getresponse().read())["photos"]
                    assert all(one["state"] == "indexed" for one in found)

                walls.append(timed(ask))
    report(
        f"api, {LOOKED_UP} photos by path",
        **{f"{field}_ms": round(1000 * float(np.median(walls)), 1) for field, walls in times.items()},
    )


# -- the library -----------------------------------------------------------------------------------


def linked(catalog: Path, folder: Path) -> Path:
    """A catalog folder of links to the parts of another, which a server may write beside."""
    folder.mkdir()
    for part in catalog.iterdir():
        if part.is_dir() and part.name not in ("thumbs", "user", "sync", "jobs"):
            (folder / part.name).symlink_to(part.resolve())
    return folder


def some_records(settings: Settings, count: int) -> list[Record]:
    with Catalog.open(settings.catalog, settings) as catalog:
        ids = catalog.select(()).ids
        chosen = np.sort(np.random.default_rng(2).choice(ids, count, replace=False))
        return list(catalog.iter_records_of(chosen.tolist()))


def measured(settings: Settings, count: int, asked: list[str]) -> None:
    texts = query_texts(count * len(ASKED_CASES))
    records = some_records(settings, 1000 + PICTURES)
    questions: dict[str, Callable[[Server], Any]] = {
        "search": lambda server: measure_search(server, settings, texts),
        "many": lambda server: measure_many(server, texts[:count]),
        "slow": lambda server: measure_slow(server, texts[:50]),
        "pictures": lambda server: measure_pictures(server, settings, records[:PICTURES]),
        "lookup": lambda server: measure_lookup(server, records),
    }
    with served(settings) as server:
        for question in asked:
            questions[question](server)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--photos", type=int, default=500_000)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--catalog", type=Path)
    parser.add_argument("--only", nargs="+", choices=QUESTIONS, default=list(QUESTIONS))
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bench_api"))
    try:
        catalog = options.catalog or folder / "filled"
        if not catalog.exists():
            fill_to_search(catalog, options.photos)
        settings = Settings(catalog=linked(catalog, folder / "catalog"))
        measured(settings, options.queries, options.only)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
