"""Captions by a server: photos leave this process for it, so it is off until its owner names one.

::

    run ── a picture each: JPEG made of the frame's pixels, so it carries no metadata (no place, no time)
      │ several at a time
    _describe ── one photo: money set aside, asked, asked again after what passes, settled
      │
    _ask ── one request, one answer of bounded size and time

What is sent goes over TLS, or stays on this machine, or (without a key) in a private network. Keys come from
the environment, go only into a header, and are in no setting, record, note or log. No redirect is followed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import logging
import os
import random
import re
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import simplejpeg

from catalogd import _native
from catalogd.errors import ModelError
from catalogd.models import captions
from catalogd.models.captions import questions, replies
from catalogd.models.captions.address import checked, key_of
from catalogd.models.captions.apis import APIS, Ask, Reply
from catalogd.models.captions.spending import Spending, Tally
from catalogd.models.weights import HASH_DIGITS
from catalogd.records import Output
from catalogd.settings import Settings

if TYPE_CHECKING:
    import httpx

    from catalogd.models import Frame

_log = logging.getLogger(__name__)
_STEP = 1  # of what this module sends and makes of the answers
_IN_FLIGHT = 8  # requests at a time: servers batch about as many, clouds allow more
_IN_FLIGHT_HERE = 4  # more would wait inside a server on this machine, and their time would run out there
_ATTEMPTS = 4  # of one photo
_PAUSE_S = 1.0  # before the second attempt; twice as long before each further one, or as the server says
_CONNECT_S = 10.0
_REST_S = 60.0  # how long a server that did not answer is left alone: it may be starting
_SHARE_OF_DEADLINE = 0.75  # of `infer_deadline_s`, for the requests of a batch
_LAST_SHARE = 0.8  # of it, for all of a batch: what drips in is waited for no longer; at 1 the process ends
_MOST_BYTES = 1 << 20  # of an answer: honest ones have a few KiB
_JPEG_QUALITY = 85  # no artefacts that a model could mistake for something; about 100 KiB at 768 px
_PICTURE_TOKENS = 1600  # before the first answer tells: most models count 250 to 1,600 at 768 px
_CHARACTERS_PER_TOKEN = 3  # of English prompts 4, of other languages fewer
_CAPTION_TOKENS = 200  # two sentences take 60; JSON around them, and other scripts, more
_ANSWER_TOKENS = 50  # of each question
_MOST_COUNTED = 10_000_000  # tokens of an answer; a server that counts more, or less than none, errs
_MOST_TOKENS = 2048  # of an answer that costs nothing: room for models that think first
_PASSING = frozenset({408, 409, 425, 429})  # and all from 500 on: worth another attempt

NOT_MADE = Output("")  # left for the next run: no fingerprint is ""


class _PassingError(Exception):
    """Worth another attempt. `may_cost`: the request may have to be paid all the same."""

    def __init__(self, message: str, wait_s: float | None = None, may_cost: bool = False) -> None:
        super().__init__(message)
        self.wait_s = wait_s
        self.may_cost = may_cost


class _NoCaptionError(_PassingError):
    """An answer that was paid and holds no caption. Time after time it is the photo that is at fault."""


class _RefusedError(Exception):
    """This photo is not described, however often one asks."""

    def __init__(self, message: str, may_cost: bool = False) -> None:
        super().__init__(message)
        self.may_cost = may_cost


class _BudgetSpentError(Exception):
    """The run has no money left for this photo."""


@dataclasses.dataclass
class _Photo:
    """One photo on its way."""

    jpeg: bytes
    deadline: float
    schema: dict[str, Any] | None
    spent: float = 0.0
    said: str = ""  # what went wrong last


def jpeg_of(frame: Frame, edge_px: int) -> bytes:
    """A frame as a JPEG of at most `edge_px`: pixels alone, nothing of the file it came from."""
    height, width = frame.shape[:2]
    scale = min(1.0, edge_px / max(height, width))
    picture = frame
    if scale < 1:
        picture = np.empty((max(1, round(height * scale)), max(1, round(width * scale)), 3), np.uint8)
        _native.resize(np.ascontiguousarray(frame), picture)
    content: bytes = simplejpeg.encode_jpeg(
        np.ascontiguousarray(picture), quality=_JPEG_QUALITY, colorsubsampling="420"
    )
    return content


class ServerCaptions:
    """`caption`, and answers to the owner's questions, by one request a photo."""

    name = captions.NAME
    is_remote = True  # it waits on the network: all frames of a batch in one call

    def __init__(self, settings: Settings) -> None:
        """Raises SettingsError when the server, its model or the questions are not as they should be."""
        self._server = checked(settings)
        self._questions = questions.read(settings.questions).texts
        self._settings = settings
        self._api = APIS[settings.caption_server_kind]
        self._prompt = replies.prompt(self._questions)
        self._schema: dict[str, Any] | None = replies.schema(self._questions)
        self._prompt_tokens = len(self._prompt) // _CHARACTERS_PER_TOKEN
        self._needed_tokens = _CAPTION_TOKENS + _ANSWER_TOKENS * len(self._questions)
        self._spending = Spending(settings.model_cache / "captions", settings.caption_run_budget)
        self.fingerprint = self._fingerprint()
        self._key = ""
        self._client: httpx.Client | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._counts = threading.Lock()
        self._picture_tokens = 0  # the most that a picture was counted as
        self._fresh = Tally()  # what the answers of this batch have brought
        self._trouble_said = self._hold_said = ""
        self._hold_until = self._rest_until = 0.0
        self._told = self._summary()

    def _fingerprint(self) -> str:
        """Of the model and what it is asked. Another address with the same model writes the same captions."""
        model = self._settings.caption_server_model
        said = "\n".join((model, self._prompt, str(self._settings.caption_edge_px)))
        label = re.sub(r"[^a-z0-9.]+", "-", model.lower()).strip("-")[:40]
        return f"caption-server-{label}@{hashlib.sha256(said.encode()).hexdigest()[:HASH_DIGITS]}.{_STEP}"

    @property
    def spent(self) -> float:
        """USD of this run, all its processes together; what is in flight counts with the most it can cost."""
        return self._spending.tally.usd

    def load(self) -> None:
        """Read the key and open the client; nothing is sent. Raises ModelError without httpx or a key."""
        try:
            import httpx
        except ImportError:
            raise ModelError("captions by a server need httpx: pip install 'catalogd[standard]'") from None

        server = self._server
        self._key = key_of(self._settings.caption_server_kind, os.environ) if server.takes_key else ""
        if not self._key and server.is_encrypted and not server.is_here:
            names = " or ".join(self._api.keys)
            raise ModelError(f"{server.host} wants a key: set {names} (to any word if it needs none)")
        try:
            httpx.URL(server.url)
        except httpx.InvalidURL as error:
            raise ModelError(f"caption_server: {error}") from None
        in_flight = _IN_FLIGHT_HERE if server.is_here else _IN_FLIGHT
        self._client = httpx.Client(
            headers={**self._api.headers(self._key), "accept-encoding": "identity"},
            limits=httpx.Limits(max_connections=in_flight),
            follow_redirects=False,  # a key and a photo go where their owner sent them
            verify=server.is_encrypted,  # certificates take 0.1 s to open
            trust_env=server.is_encrypted and not server.is_here,  # a proxy never sees what is not encrypted
        )
        self._pool = ThreadPoolExecutor(in_flight, "caption")
        self._spending.forget_others()

    def unload(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        if self._client is not None:
            self._client.close()
            _log.info("captions by %s: %s", self._server.host, self._summary())
        self._pool = self._client = None
        self._key = ""

    def run(self, frames: Sequence[Frame]) -> list[Output]:
        """One output a frame; `Output("")` where the budget or the server leaves a photo for the next run.

        Ends within 0.8 of `infer_deadline_s`. Raises ModelError when the server answers for none of the
        photos, or to nobody; then it is left alone for a minute, and the photos for the next run.
        """
        assert self._pool is not None, "load() first"
        if time.monotonic() < self._rest_until:
            self._count(Tally(left=len(frames)))
            return [NOT_MADE] * len(frames)
        limit_s = self._settings.infer_deadline_s
        deadline = time.monotonic() + _SHARE_OF_DEADLINE * limit_s
        jobs = [self._pool.submit(self._describe, frame, deadline) for frame in frames]
        wait(jobs, _LAST_SHARE * limit_s)
        results = [self._result(job) for job in jobs]
        trouble = [result for result in results if isinstance(result, ModelError)]
        if trouble:
            self._trouble_said = str(trouble[-1])
        waiting = sum(isinstance(result, _BudgetSpentError) for result in results)
        self._count(Tally(left=len(trouble), waiting=waiting))
        if trouble and len(trouble) == len(results):
            self._rest_until = max(time.monotonic() + _REST_S, self._hold_until)
            raise trouble[-1]
        return [self._output(result) for result in results]

    def _count(self, batch: Tally) -> None:
        with self._counts:
            more, self._fresh = self._fresh + batch, Tally()
        with contextlib.suppress(OSError):  # it is for people; money was set aside before it was spent
            self._spending.count(more)

    def _result(self, job: Future[Output]) -> Output | Exception:
        if not job.done():
            job.cancel()
            return self._trouble("no answer in time")
        try:
            return job.result()
        except MemoryError:
            raise
        except OSError as error:  # a full disk: the photo is not at fault
            return self._trouble(f"what is spent cannot be written down: {error}")
        except Exception as error:
            return error

    def _output(self, result: Output | Exception) -> Output:
        if isinstance(result, Output):
            return result
        if isinstance(result, ModelError | _BudgetSpentError):
            return NOT_MADE
        said = str(result) if isinstance(result, _RefusedError) else f"{type(result).__name__}: {result}"
        return Output(self.fingerprint, error=self._clean(said))

    def notes(self) -> list[str]:
        """What the owner should know now, where it changed; it takes the place of what was said before."""
        summary = self._summary()
        if summary == self._told:
            return []
        self._told = summary
        return [f"captions by {self._server.host}: {summary}"]

    def _summary(self) -> str:
        """Of all processes of the run."""
        tally = self._spending.tally
        words = [
            f"{tally.photos:,} photos",
            f"{tally.tokens_in:,} tokens read, {tally.tokens_out:,} written",
            self._cost(tally.usd),
        ]
        if tally.left:
            why = f" ({self._trouble_said})" if self._trouble_said else ""
            words.append(f"{tally.left:,} photos without an answer are left for the next run{why}")
        if tally.waiting:
            budget = f"caption_run_budget ({self._settings.caption_run_budget:g} USD)"
            words.append(f"{budget} is spent, {tally.waiting:,} photos wait for the next run")
        return "; ".join(words)

    def _cost(self, usd: float) -> str:
        if self._is_paid:
            return f"{usd:.4f} USD"
        return (
            "free" if self._server.is_here else "cost unknown: caption_price_in and caption_price_out are 0"
        )

    @property
    def _is_paid(self) -> bool:
        return self._settings.caption_price_in + self._settings.caption_price_out > 0

    # ── one photo ─────────────────────────────────────────────────────────────────────────────

    def _describe(self, frame: Frame, deadline: float) -> Output:
        """One photo, with all its attempts. Raises ModelError when it is not the photo that is at fault."""
        photo = _Photo(jpeg_of(frame, self._settings.caption_edge_px), deadline, self._schema)
        for attempt in range(_ATTEMPTS):
            try:
                return self._attempt(photo)
            except _PassingError as passing:
                photo.said = str(passing)
                if isinstance(passing, _NoCaptionError) and attempt == _ATTEMPTS - 1:
                    raise _RefusedError(photo.said) from None
                self._hold(_PAUSE_S * 2**attempt if passing.wait_s is None else passing.wait_s, photo.said)
        raise self._trouble(photo.said)

    def _attempt(self, photo: _Photo) -> Output:
        left = self._settings.caption_photo_budget - photo.spent
        tokens = self._affordable(left)
        if tokens < self._needed_tokens:
            raise self._too_dear(photo)
        if late := self._wait(photo.deadline):
            raise self._trouble(photo.said or late)
        return self._made_of(self._settled(photo, tokens), photo)

    def _settled(self, photo: _Photo, tokens: int) -> Reply:
        """The answer to one request, its money set aside before and settled after."""
        cost = most = self._price(self._expected_tokens, tokens)
        if not self._spending.set_aside(most):
            raise _BudgetSpentError
        try:
            reply = self._ask(photo, tokens)
            cost = self._cost_of(reply, most)
            return reply
        except (_PassingError, _RefusedError) as error:
            cost = most if error.may_cost else 0.0
            raise
        except ModelError:
            cost = 0.0
            raise
        finally:
            photo.spent += cost
            self._spending.settle(most, cost)

    def _made_of(self, reply: Reply, photo: _Photo) -> Output:
        if reply.refused:
            raise _RefusedError(f"the caption server refused: {captions.tidy(reply.refused, 200)}")
        read = replies.read(reply.text, self._questions)
        if read is None and reply.is_cut:
            raise _RefusedError("the caption server ran out of tokens before it wrote a caption")
        if read is None:
            raise _NoCaptionError("the caption server's answer holds no caption", 0.0)
        with self._counts:
            self._fresh += Tally(photos=1)
        self._schema = photo.schema
        return captions.output(self.fingerprint, read[0], self._questions, read[1])

    # ── one request ───────────────────────────────────────────────────────────────────────────

    def _ask(self, photo: _Photo, tokens: int) -> Reply:
        import httpx

        assert self._client is not None
        model = self._settings.caption_server_model
        body = self._api.body(Ask(model, self._prompt, photo.jpeg, tokens, photo.schema), self._server.host)
        left_s = photo.deadline - time.monotonic()
        timeout = httpx.Timeout(max(0.1, left_s), connect=min(_CONNECT_S, max(0.1, left_s)))
        try:
            with self._client.stream("POST", self._server.url, json=body, timeout=timeout) as response:
                content = _content(response, photo.deadline)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise _PassingError(f"no connection ({error})") from None
        except httpx.TimeoutException:
            raise _PassingError("no answer in time", may_cost=True) from None
        except httpx.HTTPError as error:
            raise _PassingError(f"the connection broke off ({error})", may_cost=True) from None
        if self._key:  # some servers repeat it in what they say is wrong
            content = content.replace(self._key.encode(), "…".encode())
        if response.status_code != 200:
            raise self._status(response, content, photo)
        try:
            return self._api.reply(content)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise _PassingError("what it sent is no answer of its API", 0.0, may_cost=True) from None

    def _status(self, response: httpx.Response, content: bytes, photo: _Photo) -> Exception:
        """What another status than 200 means."""
        status = response.status_code
        if status in _PASSING or status >= 500:
            wait_s = _retry_after(response.headers.get("retry-after"))
            asks = f", it asks to wait {wait_s:g} s" if wait_s else ""
            return _PassingError(f"HTTP {status}{asks}", wait_s)
        said = captions.tidy(_message(content), 200)
        if status in (401, 402, 403) or "api key" in said.lower():  # Google's status for a wrong key is 400
            return self._trouble(f"HTTP {status}: {self._about_key()}")
        if status in (400, 422) and photo.schema:  # a server that knows no structured output says so
            photo.schema = None
            return _PassingError(f"HTTP {status}: {said}", 0.0)
        if status == 404:
            return self._trouble(
                f"HTTP 404 at {self._server.url}: wrong address or caption_server_model ({said})"
            )
        if 300 <= status < 400:
            return self._trouble(
                f"HTTP {status}: it points elsewhere, which is not followed; set caption_server"
            )
        return _RefusedError(f"the caption server refused the request: HTTP {status}: {said}")

    def _about_key(self) -> str:
        names = " or ".join(self._api.keys)
        if not self._server.takes_key:
            return f"it wants a key, which is sent over https:// only; {names}"
        return f"it does not accept the key in {names}" if self._key else f"it wants a key in {names}"

    def _trouble(self, said: str) -> ModelError:
        return ModelError(f"caption_server {self._server.host}: {self._clean(said)}")

    def _clean(self, text: str) -> str:
        """Without the key."""
        return text.replace(self._key, "…") if self._key else text

    # ── time and money ────────────────────────────────────────────────────────────────────────

    def _hold(self, seconds: float, said: str) -> None:
        """All requests wait: a server that is asked too much by one is asked too much by all."""
        until = time.monotonic() + seconds * (1 + random.random() / 4)
        with self._counts:
            if until > self._hold_until:
                self._hold_until, self._hold_said = until, said

    def _wait(self, deadline: float) -> str:
        """Until one may ask; why it is too late then, or ""."""
        while (left_s := self._hold_until - time.monotonic()) > 0:
            if time.monotonic() + left_s >= deadline:
                return self._hold_said
            time.sleep(left_s)
        return "" if time.monotonic() < deadline else "no answer in time"

    @property
    def _expected_tokens(self) -> int:
        return (self._picture_tokens or _PICTURE_TOKENS) + self._prompt_tokens

    def _price(self, tokens_in: int, tokens_out: int) -> float:
        settings = self._settings
        return (tokens_in * settings.caption_price_in + tokens_out * settings.caption_price_out) / 1e6

    def _affordable(self, usd: float) -> int:
        """How many tokens may be written for that."""
        left = usd - self._price(self._expected_tokens, 0)
        if left < 0:
            return 0
        price = self._settings.caption_price_out
        return min(_MOST_TOKENS, int(left * 1e6 / price)) if price else _MOST_TOKENS

    def _cost_of(self, reply: Reply, most: float) -> float:
        """Of one answer; what its server did not count costs the most it can."""
        if reply.tokens_in is None or reply.tokens_out is None:
            return most
        tokens_in, tokens_out = (
            min(max(0, count), _MOST_COUNTED) for count in (reply.tokens_in, reply.tokens_out)
        )
        with self._counts:
            self._fresh += Tally(tokens_in=tokens_in, tokens_out=tokens_out)
            self._picture_tokens = max(self._picture_tokens, tokens_in - self._prompt_tokens)
        return self._price(tokens_in, tokens_out)

    def _too_dear(self, photo: _Photo) -> Exception:
        """The photo is at fault when it was paid for in vain, and the setting when it was never sent."""
        budget = f"caption_photo_budget ({self._settings.caption_photo_budget:g} USD)"
        if photo.spent:
            return _RefusedError(f"{budget} is spent without a caption: {photo.said}")
        most = self._price(self._expected_tokens, self._needed_tokens)
        return self._trouble(f"{budget} is too small: one request may cost {most:.4f} USD")


def _content(response: httpx.Response, deadline: float) -> bytes:
    """The body, of bounded size, read within bounded time."""
    content = bytearray()
    for part in response.iter_raw():
        content += part
        if len(content) > _MOST_BYTES:
            raise _RefusedError(
                f"the caption server's answer is larger than {_MOST_BYTES >> 10} KiB", may_cost=True
            )
        if time.monotonic() > deadline:
            raise _PassingError("no answer in time", may_cost=True)
    return bytes(content)


def _retry_after(value: str | None) -> float | None:
    """Seconds of a Retry-After header; None for a date and for nonsense."""
    try:
        seconds = float(value or "")
    except ValueError:
        return None
    return max(0.0, seconds) if seconds < 86_400 else None


def _message(content: bytes) -> str:
    """What a server says of an error: all three APIs, and most others, put it at error.message."""
    try:
        said = msgspec.json.decode(content)
        error = said["error"]
        return str(error["message"] if isinstance(error, dict) else error)
    except (msgspec.MsgspecError, LookupError, TypeError):
        return content[:1000].decode("utf-8", "replace")
