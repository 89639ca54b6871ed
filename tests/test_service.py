"""The warm searcher's socket: answers, errors, and clients that behave badly."""

from __future__ import annotations

import os
import socket
import stat
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from catalogd import service
from catalogd.errors import CatalogDamagedError, CatalogError, QueryError, UsageError
from catalogd.records import Branch, Example, Explanation, Facets, Hit, Plan, Results, Signal, Step
from catalogd.service import SOCKET, Remote, serve

RESULTS = Results(
    hits=(Hit(7, b"/a/\xff.jpg", 0.8, (Signal("words", 1, 2.5, ("tags: dog",), ((0.1, 0.2, 0.3, 0.4),)),)),),
    total=3,
    took_ms=1.5,
    explanation=Explanation(("words: dog",), (Step("words", 12, 0.5),)),
    notes=("a note",),
)


class Fake:
    """Answers with what it was asked, or with the error it was given."""

    def __init__(self) -> None:
        self.asked: list[object] = []
        self.error: Exception | None = None

    def search(
        self, query: str | Plan, limit: int = 20, min_score: float | None = None, explain: bool = False
    ) -> Results:
        self.asked.append((query, limit, min_score, explain))
        if self.error is not None:
            raise self.error
        return RESULTS

    def count(self, query: str | Plan) -> int:
        return len(str(query))

    def divided(self, query: str | Plan, names: tuple[str, ...]) -> Facets:
        return Facets({name: [("Nikon", 2), ("", 1)] for name in names}, 3, ("some only",))


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, Fake]]:
    fake = Fake()
    with service.listening(tmp_path) as listener:
        thread = threading.Thread(target=serve, args=(listener, fake), daemon=True)
        thread.start()
        yield tmp_path, fake
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_a_search_comes_back_as_it_was_found(served: tuple[Path, Fake]) -> None:
    folder, fake = served
    assert Remote(folder).search("dog", 5, 0.25, True) == RESULTS
    assert fake.asked == [("dog", 5, 0.25, True)]


def test_a_plan_is_asked_as_it_is(served: tuple[Path, Fake]) -> None:
    folder, fake = served
    plan = Plan((Branch("at night", examples=(Example("/a/b.jpg", negated=True),)),), limit=3)
    Remote(folder).search(plan)
    assert fake.asked[0] == (plan, 20, None, False)


def test_counts_and_facets_are_answered(served: tuple[Path, Fake]) -> None:
    remote = Remote(served[0])
    assert remote.count("four") == 4
    rows = [("Nikon", 2), ("", 1)]
    facets = remote.divided("dog", ("camera", "lens"))
    assert facets == Facets({"camera": rows, "lens": rows}, 3, ("some only",))


def test_a_question_that_is_no_text_is_for_a_searcher_of_ones_own(served: tuple[Path, Fake]) -> None:
    """`similar` of a file whose name is not UTF-8 ended in a UnicodeEncodeError while a run was alive."""
    plan = Plan((Branch(examples=(Example("caf\udce9.jpg"),)),))
    with pytest.raises(ConnectionError):
        Remote(served[0]).search(plan)


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (UsageError("no such album"), UsageError),
        (CatalogDamagedError("broken"), CatalogError),
        (ZeroDivisionError("a bug"), Exception),
    ],
)
def test_an_error_reaches_who_asked(
    served: tuple[Path, Fake], raised: Exception, kind: type[Exception]
) -> None:
    folder, fake = served
    fake.error = raised
    with pytest.raises(kind, match=str(raised)):
        Remote(folder).search("dog")
    fake.error = None
    assert Remote(folder).search("dog") == RESULTS  # the searcher goes on


def test_an_error_in_a_query_keeps_its_place(served: tuple[Path, Fake]) -> None:
    folder, fake = served
    fake.error = QueryError("there is no key foo:", 4)
    with pytest.raises(QueryError) as error:
        Remote(folder).search("dog foo:1")
    assert error.value.position == 4


def test_where_nobody_listens_it_says_so_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConnectionError):
        Remote(tmp_path)


def test_a_socket_that_a_killed_searcher_left_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / SOCKET))
    with pytest.raises(ConnectionError):
        Remote(tmp_path)
    with service.listening(tmp_path):
        Remote(tmp_path)
    assert not (tmp_path / SOCKET).exists()


def test_only_the_owner_may_ask(served: tuple[Path, Fake], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, fake = served
    assert stat.S_IMODE(os.stat(folder / SOCKET).st_mode) == 0o600
    monkeypatch.setattr(service, "_is_owner", lambda connection: False)
    with pytest.raises(ConnectionError):
        Remote(folder).search("dog")
    assert not fake.asked


def test_a_long_path_of_the_catalog_is_no_hindrance(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 40)
    folder.mkdir()
    with service.listening(folder) as listener:
        thread = threading.Thread(target=serve, args=(listener, Fake()), daemon=True)
        thread.start()
        assert Remote(folder).count("dog") == 3
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize(
    "said",
    [b"", b"\0", struct.pack(">I", 1 << 31), struct.pack(">I", 5) + b"12345", struct.pack(">I", 9) + b"123"],
)
def test_nonsense_ends_only_its_own_connection(served: tuple[Path, Fake], said: bytes) -> None:
    folder, _ = served
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(folder / SOCKET))
        client.sendall(said)
        client.shutdown(socket.SHUT_WR)
        client.settimeout(5)
        assert client.recv(1) == b""
    assert Remote(folder).count("dog") == 3


def test_a_silent_client_holds_up_nobody(served: tuple[Path, Fake], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, _ = served
    monkeypatch.setattr(service, "IDLE_S", 0.2)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(str(folder / SOCKET))
        started = time.monotonic()
        assert Remote(folder).count("dog") == 3
        assert time.monotonic() - started < 0.2
        silent.settimeout(5)
        assert silent.recv(1) == b""  # let go


def test_many_clients_at_once_are_all_answered(served: tuple[Path, Fake]) -> None:
    folder, _ = served
    found: list[int] = []

    def ask() -> None:
        found.append(Remote(folder).count("dog"))

    clients = [threading.Thread(target=ask) for _ in range(100)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert found == [3] * 100


def test_a_searcher_of_another_version_is_told_apart(served: tuple[Path, Fake]) -> None:
    folder, _ = served
    ask = service.Ask("count", "dog", version=99)
    with pytest.raises(UsageError, match="start it again"):
        Remote(folder)._ask(ask, service.Counted)
