"""Captions by a server, against a real HTTP server on loopback that speaks each API."""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image

from catalogd.errors import ModelError, SettingsError
from catalogd.models.captions import address, apis, replies, server
from catalogd.models.captions.server import NOT_MADE, ServerCaptions
from catalogd.models.captions.spending import Spending
from catalogd.pipeline.stages import infer_batch
from catalogd.records import Output
from catalogd.settings import Settings
from tests.models.conftest import photo

KEY = "sk-secret-of-the-owner"
CAT = {"caption": "A cat looks at you.", "q1": "indoors", "q2": "one"}
Answer = tuple[int, dict[str, str], bytes]


class Fake:
    """A caption server: what it was asked, and what it answers, call by call."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.answer: Callable[[int], Answer] = lambda call: chat(CAT)
        self.most_at_once = self._now = 0
        self._lock = threading.Lock()
        self.pause_s = 0.0
        self.url = ""

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        with self._lock:
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        yield
        with self._lock:
            self._now -= 1

    def take(self, path: str, headers: dict[str, str], body: bytes) -> Answer:
        with self.counted():
            with self._lock:
                self.asked.append((path, headers, json.loads(body)))
                call = len(self.asked) - 1
            time.sleep(self.pause_s)
            return self.answer(call)


@pytest.fixture
def fake() -> Iterator[Fake]:
    state = Fake()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            status, headers, content = state.take(self.path, dict(self.headers.items()), body)
            with contextlib.suppress(OSError):
                self.send_response(status)
                for name, value in {"content-length": str(len(content)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)
                if headers.get("connection") == "close":
                    self.close_connection = True

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.daemon_threads = True
        state.url = f"http://127.0.0.1:{http.server_port}"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield state
        http.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_PAUSE_S", 0.002)
    for api in apis.APIS.values():
        for name in api.keys:
            monkeypatch.setenv(name, KEY)


def chat(content: Any, tokens: tuple[int, int] | None = (500, 50), **choice: Any) -> Answer:
    text = content if isinstance(content, str) else json.dumps(content)
    body: dict[str, Any] = {"choices": [{"message": {"content": text}, **choice}]}
    if tokens:
        body["usage"] = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1]}
    return 200, {}, json.dumps(body).encode()


def failing(status: int, message: str = "no", **headers: str) -> Answer:
    return status, headers, json.dumps({"error": {"message": message}}).encode()


def settings(tmp_path: Path, fake: Fake, **changes: Any) -> Settings:
    file = tmp_path / "questions.txt"
    file.write_text("Where is it?\nHow many animals?\n", "utf-8")
    return Settings(
        **{
            "model_cache": tmp_path / "cache",
            "questions": file,
            "caption_server": fake.url,
            "caption_server_model": "llava:13b",
            **changes,
        }
    )


@contextlib.contextmanager
def loaded(chosen: Settings) -> Iterator[ServerCaptions]:
    model = ServerCaptions(chosen)
    model.load()
    try:
        yield model
    finally:
        model.unload()


def described(tmp_path: Path, fake: Fake, frames: int = 1, **changes: Any) -> list[Output]:
    with loaded(settings(tmp_path, fake, **changes)) as model:
        return model.run([photo("chelsea.png")] * frames)


def answers(output: Output) -> list[str]:
    return [item.answer for item in output.answers or ()]


# ── what is sent ──────────────────────────────────────────────────────────────────────────────


def test_one_request_brings_the_caption_and_all_answers(tmp_path: Path, fake: Fake) -> None:
    (output,) = described(tmp_path, fake)
    assert output.caption == "A cat looks at you."
    assert answers(output) == ["indoors", "one"]
    ((path, headers, body),) = fake.asked
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == f"Bearer {KEY}"
    words, picture = body["messages"][0]["content"]
    assert "q2: How many animals?" in words["text"]
    assert body["response_format"]["json_schema"]["schema"]["required"] == ["caption", "q1", "q2"]
    assert picture["image_url"]["url"].startswith("data:image/jpeg;base64,")


def test_the_picture_that_leaves_is_small_and_carries_nothing_but_pixels(tmp_path: Path, fake: Fake) -> None:
    described(tmp_path, fake, caption_edge_px=200)
    url = fake.asked[0][2]["messages"][0]["content"][1]["image_url"]["url"]
    content = base64.b64decode(url.partition(",")[2])
    with Image.open(BytesIO(content)) as image:
        assert max(image.size) == 200
        assert image.format == "JPEG"
        assert not image.getexif()
        assert set(image.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
        sent = np.asarray(image.convert("RGB").resize((64, 64)), np.float32)
    with Image.fromarray(photo("chelsea.png")) as image:
        original = np.asarray(image.resize((64, 64)), np.float32)
    assert np.abs(sent - original).mean() < 6  # the colours, in their order
    assert b"Exif" not in content


def test_a_frame_smaller_than_the_edge_is_not_enlarged() -> None:
    content = server.jpeg_of(np.zeros((30, 50, 3), np.uint8), 768)
    with Image.open(BytesIO(content)) as image:
        assert image.size == (50, 30)


def test_a_frame_of_one_row_can_be_sent() -> None:
    with Image.open(BytesIO(server.jpeg_of(np.zeros((1, 4000, 3), np.uint8), 768))) as image:
        assert image.size == (768, 1)


def test_anthropic_is_asked_by_its_api(tmp_path: Path, fake: Fake) -> None:
    def answer(call: int) -> Answer:
        content = [
            {"type": "text", "text": "I look."},
            {"type": "tool_use", "id": "1", "name": "x", "input": CAT},
        ]
        usage = {"input_tokens": 9, "output_tokens": 8}
        return 200, {}, json.dumps({"content": content, "stop_reason": "tool_use", "usage": usage}).encode()

    fake.answer = answer
    (output,) = described(tmp_path, fake, caption_server_kind="anthropic", caption_server_model="claude")
    assert output.caption == "A cat looks at you."
    assert answers(output) == ["indoors", "one"]
    ((path, headers, body),) = fake.asked
    assert path == "/v1/messages"
    assert (headers["x-api-key"], headers["anthropic-version"]) == (KEY, "2023-06-01")
    assert body["tool_choice"]["name"] == body["tools"][0]["name"]
    assert body["messages"][0]["content"][0]["source"]["media_type"] == "image/jpeg"


def test_google_is_asked_by_its_api(tmp_path: Path, fake: Fake) -> None:
    def answer(call: int) -> Answer:
        parts = [{"text": "hmm {", "thought": True}, {"text": json.dumps(CAT)}]
        usage = {"promptTokenCount": 9, "candidatesTokenCount": 8, "thoughtsTokenCount": 7}
        made = {"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}], "usageMetadata": usage}
        return 200, {}, json.dumps(made).encode()

    fake.answer = answer
    chosen = settings(tmp_path, fake, caption_server_kind="google", caption_server_model="gemini-x")
    with loaded(chosen) as model:
        (output,) = model.run([photo("chelsea.png")])
        assert "9 tokens read, 15 written" in model.notes()[0]
    assert answers(output) == ["indoors", "one"]
    ((path, headers, body),) = fake.asked
    assert path == "/v1beta/models/gemini-x:generateContent"
    assert headers["x-goog-api-key"] == KEY
    assert "additionalProperties" not in body["generationConfig"]["responseSchema"]
    assert body["contents"][0]["parts"][0]["inlineData"]["mimeType"] == "image/jpeg"


def test_several_photos_are_asked_about_at_once(tmp_path: Path, fake: Fake) -> None:
    fake.pause_s = 0.1
    outputs = described(tmp_path, fake, frames=8)
    assert [output.caption for output in outputs] == ["A cat looks at you."] * 8
    assert 1 < fake.most_at_once <= 4  # as many as a server on this machine gets


def test_each_photo_gets_its_own_answer_whatever_the_order(tmp_path: Path, fake: Fake) -> None:
    def take(path: str, headers: dict[str, str], body: bytes) -> Answer:
        url = json.loads(body)["messages"][0]["content"][1]["image_url"]["url"]
        with Image.open(BytesIO(base64.b64decode(url.partition(",")[2]))) as image:
            width = image.size[0]
        time.sleep(0.002 * (70 - width))
        return chat({"caption": f"{width} px wide"})

    fake.take = take  # type: ignore[method-assign]
    with loaded(settings(tmp_path, fake, questions=None)) as model:
        outputs = model.run([np.zeros((64, width, 3), np.uint8) for width in (60, 64, 62, 68)])
    assert [output.caption for output in outputs] == [f"{width} px wide" for width in (60, 64, 62, 68)]


@pytest.mark.parametrize(
    ("given", "kind", "url"),
    [
        ("http://localhost:11434", "openai", "http://localhost:11434/v1/chat/completions"),
        ("http://localhost:11434/v1/", "openai", "http://localhost:11434/v1/chat/completions"),
        ("https://x.example/api/v1", "openai", "https://x.example/api/v1/chat/completions"),
        ("https://x.example/v1/chat/completions", "openai", "https://x.example/v1/chat/completions"),
        ("https://api.anthropic.com", "anthropic", "https://api.anthropic.com/v1/messages"),
        ("https://g.example", "google", "https://g.example/v1beta/models/a%2Fb:generateContent"),
        ("http://192.168.1.5:8000", "openai", "http://192.168.1.5:8000/v1/chat/completions"),
        ("http://[::1]:8000", "openai", "http://[::1]:8000/v1/chat/completions"),
    ],
)
def test_the_endpoint_is_found_from_what_the_owner_wrote(given: str, kind: str, url: str) -> None:
    chosen = Settings(caption_server=given, caption_server_kind=kind, caption_server_model="a/b")
    assert address.checked(chosen).url == url


# ── what is not sent ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("http://captions.example", "in the clear"),
        ("http://nas.local:11434", "in the clear"),
        ("http://8.8.8.8", "in the clear"),
        ("http://100.64.0.1", "in the clear"),
        ("http://127.0.0.1.example", "in the clear"),
        ("ftp://localhost", "must be a URL"),
        ("localhost:11434", "must be a URL"),
        ("https://", "must be a URL"),
        ("https://x:99999", "must be a URL"),
        ("https://user:sk-1@x.example", "without user"),
        ("https://x.example/?key=sk-1", "without user"),
    ],
)
def test_a_server_to_which_photos_should_not_go_is_refused(given: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said) as caught:
        address.checked(Settings(caption_server=given, caption_server_model="m"))
    assert "caption_server" in str(caught.value)
    assert "sk-1" not in str(caught.value)


def test_a_model_must_be_named() -> None:
    with pytest.raises(SettingsError, match="caption_server_model"):
        address.checked(Settings(caption_server="http://localhost:1"))


def test_a_key_is_not_sent_in_the_clear_to_another_machine(tmp_path: Path) -> None:
    model = ServerCaptions(
        Settings(model_cache=tmp_path, caption_server="http://10.0.0.9:1", caption_server_model="m")
    )
    model.load()
    assert model._client is not None
    assert "authorization" not in model._client.headers
    assert not model._client.trust_env  # a proxy would see the photo
    model.unload()


def test_photos_for_this_machine_take_no_proxy_and_no_password_of_the_environment(
    tmp_path: Path, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # where nobody listens
    (tmp_path / "netrc").write_text("default login owner password of-the-owner\n", "ascii")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.delenv("OPENAI_API_KEY")
    (output,) = described(tmp_path, fake)
    assert output.caption
    assert "Authorization" not in fake.asked[0][1]


def test_an_address_that_is_none_after_all_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    chosen = Settings(
        model_cache=tmp_path, caption_server="http://localhost:1/\x01", caption_server_model="m"
    )
    with pytest.raises(ModelError, match="caption_server: "):
        ServerCaptions(chosen).load()


def test_a_redirect_is_not_followed(tmp_path: Path, fake: Fake) -> None:
    fake.answer = lambda call: (307, {"location": f"{fake.url}/elsewhere"}, b"")
    with pytest.raises(ModelError, match=r"caption_server .*307"):
        described(tmp_path, fake)
    assert len(fake.asked) == 1


def test_the_key_is_in_no_output_note_log_or_error(
    tmp_path: Path, fake: Fake, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    fake.answer = lambda call: failing(413, f"too large for {KEY}") if call else failing(413, KEY)
    with loaded(settings(tmp_path, fake)) as model:
        (output,) = model.run([photo("chelsea.png")])
        assert "HTTP 413" in (output.error or "")
        assert KEY not in f"{output} {model.notes()} {model.fingerprint} {vars(model)['_settings']}"
    fake.answer = lambda call: failing(404, f"no such thing as {KEY}")
    with pytest.raises(ModelError) as caught:
        described(tmp_path, fake)
    assert KEY not in str(caught.value)
    assert KEY not in caplog.text


def test_a_key_that_a_server_repeats_is_in_no_caption_and_no_part_of_it_in_an_error(
    tmp_path: Path, fake: Fake
) -> None:
    """An error was cut to its length first, and the first half of a key was left in it."""
    fake.answer = lambda call: chat({"caption": f"A note that says {KEY}.", "q1": KEY})
    (output,) = described(tmp_path, fake)
    assert output.caption == "A note that says …."
    assert answers(output) == ["…"]
    fake.answer = lambda call: failing(413, f"{'x' * 185} {KEY}")
    (output,) = described(tmp_path, fake)
    assert "xxx" in (output.error or "")
    assert KEY[:5] not in str(output)


def test_a_cloud_without_a_key_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOOGLE_API_KEY")
    chosen = Settings(
        model_cache=tmp_path,
        caption_server="https://g.example",
        caption_server_kind="google",
        caption_server_model="m",
    )
    assert address.key_of("google", {"GEMINI_API_KEY": " k \n"}) == "k"
    monkeypatch.delenv("GEMINI_API_KEY")
    with pytest.raises(ModelError, match="GOOGLE_API_KEY or GEMINI_API_KEY"):
        ServerCaptions(chosen).load()


def test_a_key_with_a_line_break_inside_is_refused_without_being_shown() -> None:
    with pytest.raises(SettingsError, match="OPENAI_API_KEY") as caught:
        address.key_of("openai", {"OPENAI_API_KEY": "sk-1\nx: y"})
    assert "sk-1" not in str(caught.value)


# ── when it does not go well ──────────────────────────────────────────────────────────────────


def test_what_passes_is_tried_again(tmp_path: Path, fake: Fake) -> None:
    bad = [failing(429, **{"retry-after": "0.05"}), failing(503), (200, {}, b"<html>"), chat(CAT)]
    fake.answer = lambda call: bad[call]
    started = time.monotonic()
    (output,) = described(tmp_path, fake)
    assert output.caption == "A cat looks at you."
    assert len(fake.asked) == 4
    assert time.monotonic() - started > 0.05  # as long as it was asked to wait


def test_after_four_attempts_the_photo_is_left_for_the_next_run(tmp_path: Path, fake: Fake) -> None:
    small = np.zeros((10, 10, 3), np.uint8)
    fake.take = lambda path, headers, body: (  # type: ignore[method-assign]
        failing(500) if len(body) < 3000 else chat(CAT)
    )
    with loaded(settings(tmp_path, fake)) as model:
        bad, good = model.run([small, photo("chelsea.png")])
        assert "1 photos without an answer are left for the next run" in model.notes()[0]
    assert bad == NOT_MADE
    assert good.caption


def test_a_wrong_key_is_one_error_for_all_and_not_asked_again(tmp_path: Path, fake: Fake) -> None:
    fake.answer = lambda call: failing(401, "bad key")
    with pytest.raises(ModelError, match="401: it does not accept the key in OPENAI_API_KEY"):
        described(tmp_path, fake, frames=4)
    assert len(fake.asked) == 4


def test_googles_way_of_saying_wrong_key_is_understood(tmp_path: Path, fake: Fake) -> None:
    fake.answer = lambda call: failing(400, "API key not valid. Please pass a valid API key.")
    with pytest.raises(ModelError, match="GOOGLE_API_KEY or GEMINI_API_KEY"):
        described(tmp_path, fake, caption_server_kind="google")


def test_a_server_that_is_not_there_is_left_alone_for_a_while(tmp_path: Path, fake: Fake) -> None:
    chosen = settings(tmp_path, fake, caption_server="http://127.0.0.1:9")
    with loaded(chosen) as model:
        with pytest.raises(ModelError, match=r"caption_server 127\.0\.0\.1: no connection"):
            model.run([photo("chelsea.png")])
        model._describe = lambda *_: pytest.fail("asked again")  # type: ignore[method-assign]
        assert model.run([photo("chelsea.png")] * 8) == [Output("")] * 8
        assert re.search(
            r"9 photos without an answer are left .*\(caption_server .*no connection", model.notes()[0]
        )
        assert model.notes() == []  # told


def test_a_server_that_is_away_for_a_moment_is_asked_again(tmp_path: Path, fake: Fake) -> None:
    with loaded(settings(tmp_path, fake)) as model:
        assert model.run([photo("chelsea.png")])[0].caption
        fake.answer = lambda call: failing(503)
        with pytest.raises(ModelError, match="503"):
            model.run([photo("chelsea.png")])
        asked = len(fake.asked)
        assert model.run([photo("chelsea.png")] * 30) == [NOT_MADE] * 30
        assert len(fake.asked) == asked  # it rests
        model._rest_until = 0.0  # a minute later
        fake.answer = lambda call: chat(CAT)
        assert model.run([photo("chelsea.png")])[0].caption
        assert "2 photos; 1,000 tokens" in model.notes()[0]
        assert "31 photos without an answer are left" in model._summary()


def test_a_server_that_asks_for_more_time_than_there_is_is_not_waited_for(tmp_path: Path, fake: Fake) -> None:
    fake.answer = lambda call: failing(429, **{"retry-after": "3600"})
    started = time.monotonic()
    with loaded(settings(tmp_path, fake)) as model:
        with pytest.raises(ModelError, match="HTTP 429, it asks to wait 3600 s"):
            model.run([photo("chelsea.png")] * 6)  # some of them come after others were told to wait
        assert model.run([photo("chelsea.png")]) == [NOT_MADE]
        assert "HTTP 429, it asks to wait 3600 s" in model.notes()[0]
    assert len(fake.asked) <= 4
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("1.5", 1.5),
        ("-7", 0.0),
        *((nonsense, None) for nonsense in (None, "", "nan", "inf", "1e9", "Wed, 21 Oct 2026 07:28:00 GMT")),
    ],
)
def test_only_a_sensible_wait_is_waited(said: str | None, seconds: float | None) -> None:
    assert server._retry_after(said) == seconds


def test_a_request_that_the_server_does_not_like_is_not_repeated(tmp_path: Path, fake: Fake) -> None:
    fake.answer = lambda call: failing(413, "image too large")
    (output,) = described(tmp_path, fake)
    assert "413: image too large" in (output.error or "")
    assert output.fingerprint
    assert len(fake.asked) == 1


def test_a_server_without_structured_output_is_asked_in_words_from_then_on(
    tmp_path: Path, fake: Fake
) -> None:
    fake.take = plain = Plain(fake)  # type: ignore[method-assign, assignment]
    with loaded(settings(tmp_path, fake)) as model:
        outputs = [*model.run([photo("chelsea.png")]), *model.run([photo("chelsea.png")])]
    assert [output.caption for output in outputs] == ["A cat looks at you."] * 2
    assert plain.structured == [True, False, False]


class Plain:
    """Refuses requests with a schema."""

    def __init__(self, fake: Fake) -> None:
        self.structured: list[bool] = []

    def __call__(self, path: str, headers: dict[str, str], body: bytes) -> Answer:
        self.structured.append("response_format" in json.loads(body))
        if self.structured[-1]:
            return failing(400, "unknown field response_format")
        return chat("Sure!\n```json\n" + json.dumps(CAT) + "\n```")


def test_a_slow_server_does_not_hold_the_batch_longer_than_its_deadline(tmp_path: Path, fake: Fake) -> None:
    fake.pause_s = 5.0
    started = time.monotonic()
    with pytest.raises(ModelError, match="no answer in time"):
        described(tmp_path, fake, frames=2, infer_deadline_s=0.6)
    assert time.monotonic() - started < 4


def test_an_answer_that_drips_in_does_not_hold_the_batch_either(tmp_path: Path, fake: Fake) -> None:
    """Each byte gave the next one all the time that the first one had: the process was ended for it."""

    def drip(call: int) -> Answer:
        time.sleep(0.6)
        return 200, {"content-length": "100"}, b" "

    fake.answer = drip
    with loaded(settings(tmp_path, fake, infer_deadline_s=1.0)) as model:
        started = time.monotonic()
        with pytest.raises(ModelError, match="no answer in time"):
            model.run([photo("chelsea.png")])
        assert time.monotonic() - started < 1.1


def test_an_answer_that_never_ends_is_cut_off(tmp_path: Path, fake: Fake) -> None:
    fake.answer = lambda call: (200, {"connection": "close"}, b" " * (3 << 20))
    (output,) = described(tmp_path, fake)
    assert "larger than 1024 KiB" in (output.error or "")


def test_a_refusal_is_the_photos_error_and_no_caption(tmp_path: Path, fake: Fake) -> None:
    body = {"choices": [{"message": {"content": None, "refusal": "I can't help with that."}}]}
    fake.answer = lambda call: (200, {}, json.dumps(body).encode())
    (output,) = described(tmp_path, fake)
    assert "refused: I can't help" in (output.error or "")
    assert len(fake.asked) == 1


def test_an_answer_that_ran_out_of_tokens_says_so(tmp_path: Path, fake: Fake) -> None:
    fake.answer = lambda call: chat("I think", finish_reason="length")
    (output,) = described(tmp_path, fake)
    assert "ran out of tokens" in (output.error or "")


def test_a_photo_of_which_four_answers_tell_nothing_is_not_paid_for_again(tmp_path: Path, fake: Fake) -> None:
    fake.answer = lambda call: chat("{{{{")
    (output,) = described(tmp_path, fake)
    assert "holds no caption" in (output.error or "")
    assert output.fingerprint
    assert len(fake.asked) == 4


def test_bytes_that_are_no_answer_leave_the_photo_for_the_next_run(tmp_path: Path, fake: Fake) -> None:
    fake.answer = lambda call: (200, {}, b"<html>please log in</html>")
    with pytest.raises(ModelError, match="no answer of its API"):
        described(tmp_path, fake)
    assert len(fake.asked) == 4


# ── what is made of an answer ─────────────────────────────────────────────────────────────────

ASKED = ("Where is it?", "How many animals?")


@pytest.mark.parametrize(
    ("text", "caption", "told"),
    [
        (json.dumps(CAT), "A cat looks at you.", ["indoors", "one"]),
        ('Here you are: {"caption": "猫 🐈", "q1": "室内"} – bye {', "猫 🐈", ["室内", ""]),
        ('<think>{"caption": ""} or {"x": 1}</think>{"caption": "c", "q2": 3}', "c", ["", "3"]),
        ('{"caption": "c", "answers": ["a", "b", "d"]}', "c", ["a", "b"]),
        ('{"caption": "c", "answers": [{"question": "?", "answer": "a"}]}', "c", ["a", ""]),
        ('{"caption": "c", "answers": {"q1": true, "How many animals?": ["x", "y"]}}', "c", ["yes", "x, y"]),
        ('{"caption": ["two", "parts"], "Where is it?": "here", "q2": null}', "two, parts", ["here", ""]),
        ('{"caption": "c", "q1": {"a": {"b": 1}}, "q2": false}', "c", ["", "no"]),
    ],
)
def test_an_answer_is_found_in_what_models_write(text: str, caption: str, told: list[str]) -> None:
    assert replies.read(text, ASKED) == (caption, told)


@pytest.mark.parametrize(
    "text", ["", "no JSON", "{}", '{"q1": "x"}', '{"caption": "cut o', "[1]", "{" * 50_000]
)
def test_what_holds_no_caption_is_none(text: str) -> None:
    assert replies.read(text, ASKED) is None


def test_what_no_record_can_hold_is_left_out(tmp_path: Path, fake: Fake) -> None:
    """Half a character in JSON's way of writing came through, and the record could not be written."""
    fake.answer = lambda call: chat('{"caption": "a \\ud800 \\u202ecat\\u001b[2J", "q1": "\\udfff"}')
    (output,) = described(tmp_path, fake)
    assert output.caption == "a cat [2J"
    assert answers(output) == []
    assert msgspec.msgpack.encode(output)


def test_prose_is_a_caption_when_nothing_else_was_asked() -> None:
    assert replies.read(" A dog. \n", ()) == ("A dog.", [])


# ── money ─────────────────────────────────────────────────────────────────────────────────────

PRICES = {"caption_price_in": 2.5, "caption_price_out": 10.0}


def test_what_was_spent_is_counted_from_what_the_server_counts(tmp_path: Path, fake: Fake) -> None:
    with loaded(settings(tmp_path, fake, **PRICES)) as model:
        model.run([photo("chelsea.png")] * 2)
        assert model.spent == pytest.approx(2 * (500 * 2.5 + 50 * 10) / 1e6)
        assert "2 photos; 1,000 tokens read, 100 written; 0.0035 USD" in model.notes()[0]


def test_an_answer_without_counts_costs_the_most_it_can(tmp_path: Path, fake: Fake) -> None:
    fake.answer = lambda call: chat(CAT, tokens=None)
    with loaded(settings(tmp_path, fake, **PRICES)) as model:
        model.run([photo("chelsea.png")])
        assert 0.005 < model.spent <= 0.01  # caption_photo_budget


def test_a_server_that_counts_less_than_nothing_gives_no_money_back(tmp_path: Path, fake: Fake) -> None:
    counts = [(500, 50), (-(10**9), -5), (10**17, 0)]
    fake.answer = lambda call: chat(CAT, tokens=counts[call])
    with loaded(settings(tmp_path, fake, **PRICES, caption_run_budget=100)) as model:
        model.run([photo("chelsea.png")])
        spent = model.spent
        model.run([photo("chelsea.png")])
        assert model.spent == spent > 0
        model.run([photo("chelsea.png")])
        assert model.spent == pytest.approx(spent + 25)  # of ten million tokens


def test_a_disk_that_is_full_is_not_the_photos_fault(tmp_path: Path, fake: Fake) -> None:
    with loaded(settings(tmp_path, fake)) as model:
        (tmp_path / "cache").write_text("no folder", "ascii")
        assert model.run([photo("chelsea.png")])[0].caption  # nothing to pay
    with (
        loaded(settings(tmp_path, fake, **PRICES)) as model,
        pytest.raises(ModelError, match="what is spent cannot be written down"),
    ):
        model.run([photo("chelsea.png")])
    assert len(fake.asked) == 1


def test_a_run_ends_asking_when_its_budget_is_spent(tmp_path: Path, fake: Fake) -> None:
    chosen = settings(tmp_path, fake, **PRICES, caption_run_budget=0.02)
    with loaded(chosen) as model:
        outputs = [model.run([photo("chelsea.png")])[0] for _ in range(12)]
        made = [output for output in outputs if output.caption]
        assert outputs == made + [NOT_MADE] * (12 - len(made))
        assert len(made) == len(fake.asked) < 12
        assert 0.01 < model.spent <= 0.02
        assert f"caption_run_budget (0.02 USD) is spent, {12 - len(made)} photos wait" in model.notes()[0]


def test_the_pipeline_keeps_nothing_of_photos_that_wait(tmp_path: Path, fake: Fake) -> None:
    with loaded(settings(tmp_path, fake, **PRICES, caption_run_budget=0.001)) as model:
        outputs, _ = infer_batch([model], [photo("chelsea.png")] * 2, [None, None])
    assert outputs == [{}, {}]


def test_requests_in_flight_can_not_spend_more_than_there_is(tmp_path: Path, fake: Fake) -> None:
    fake.pause_s = 0.05
    fake.answer = lambda call: chat(CAT, tokens=(1600, 390))  # nearly what one may cost
    with loaded(settings(tmp_path, fake, **PRICES, caption_run_budget=0.021)) as model:
        outputs = model.run([photo("chelsea.png")] * 8)
        assert model.spent <= 0.021
    assert sum(output == NOT_MADE for output in outputs) >= 5


def test_retries_count_for_the_photos_budget(tmp_path: Path, fake: Fake) -> None:
    fake.answer = lambda call: chat("no json {", tokens=(1600, 200))
    (output,) = described(tmp_path, fake, **PRICES)
    assert "caption_photo_budget (0.01 USD) is spent without a caption" in (output.error or "")
    assert len(fake.asked) == 1


def test_a_budget_too_small_for_any_photo_is_an_error_and_nothing_is_sent(tmp_path: Path, fake: Fake) -> None:
    """It was written down as the photos' error, which a larger budget did not undo."""
    said = r"caption_photo_budget \(0.001 USD\) is too small: one request may cost 0.0"
    with pytest.raises(ModelError, match=said):
        described(tmp_path, fake, **PRICES, caption_photo_budget=0.001)
    assert fake.asked == []


def test_the_budget_says_how_much_may_be_written(tmp_path: Path, fake: Fake) -> None:
    described(tmp_path, fake, **PRICES)
    described(tmp_path, fake)
    asked = [body["max_tokens"] for _, _, body in fake.asked]
    assert 300 <= asked[0] < 600
    assert asked[1] == 2048


def test_failures_that_are_not_billed_cost_nothing(tmp_path: Path, fake: Fake) -> None:
    fake.answer = lambda call: failing(429)
    with loaded(settings(tmp_path, fake, **PRICES)) as model:
        with pytest.raises(ModelError, match="429"):
            model.run([photo("chelsea.png")])
        assert model.spent == 0


def test_all_processes_of_a_run_share_one_budget(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        mine = [Spending(tmp_path, 0.2) for _ in range(4)]  # as one in each process would
        taken = list(pool.map(lambda number: mine[number % 4].set_aside(0.01), range(30)))
    assert sum(taken) == 20
    assert mine[0].tally.usd == pytest.approx(0.2)
    mine[0].settle(0.01, 0.0)
    assert mine[1].set_aside(0.01)


def test_what_is_told_is_of_all_processes_of_a_run(tmp_path: Path, fake: Fake) -> None:
    chosen = settings(tmp_path, fake, **PRICES)
    with loaded(chosen) as one, loaded(chosen) as other:  # as one in each process would
        one.run([photo("chelsea.png")] * 2)
        other.run([photo("chelsea.png")] * 2)
        assert "4 photos; 2,000 tokens read, 200 written; 0.0070 USD" in other.notes()[0]


# ── its fingerprint ───────────────────────────────────────────────────────────────────────────


def test_model_and_questions_make_the_fingerprint_and_the_address_does_not(
    tmp_path: Path, fake: Fake
) -> None:
    chosen = settings(tmp_path, fake)
    first = ServerCaptions(chosen).fingerprint
    assert first.startswith("caption-server-llava-13b@")
    assert ServerCaptions(settings(tmp_path, fake, caption_server="http://[::1]:1")).fingerprint == first
    assert ServerCaptions(settings(tmp_path, fake, caption_server_model="other")).fingerprint != first
    assert ServerCaptions(settings(tmp_path, fake, questions=None)).fingerprint != first
