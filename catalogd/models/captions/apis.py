"""The three HTTP APIs of caption servers: how each is asked, and how its answer reads.

Sources: OpenAI's chat completions (which Ollama, LM Studio, vLLM, llama.cpp and most others serve, too),
Anthropic's Messages, Google's `models.generateContent`; their references as of 2025.
"""

from __future__ import annotations

import base64
import dataclasses
from typing import Any, Protocol
from urllib.parse import quote, urlsplit

import msgspec

_ANTHROPIC_VERSION = "2023-06-01"  # of the API, the newest there is
_TOOL = "describe_photo"


@dataclasses.dataclass(frozen=True)
class Ask:
    """One request: a picture, what is asked, and the schema of the answer; None asks in words alone."""

    model: str
    prompt: str
    jpeg: bytes
    most_tokens: int
    schema: dict[str, Any] | None

    @property
    def picture(self) -> str:
        return base64.b64encode(self.jpeg).decode("ascii")


@dataclasses.dataclass(frozen=True)
class Reply:
    """What a server answered. Tokens are None where it does not count them."""

    text: str
    tokens_in: int | None
    tokens_out: int | None
    refused: str = ""  # why the server wrote nothing, in its word
    is_cut: bool = False  # it ran out of tokens


class Api(Protocol):
    """One API. `reply` raises msgspec.MsgspecError for bytes that are no answer of it."""

    @property
    def keys(self) -> tuple[str, ...]: ...  # environment variables that may hold the key
    def url(self, server: str, model: str) -> str: ...
    def headers(self, key: str) -> dict[str, str]: ...
    def body(self, ask: Ask, host: str) -> dict[str, Any]: ...
    def reply(self, content: bytes) -> Reply: ...


def _under(server: str, version: str, end: str) -> str:
    """The URL of an endpoint, whether the server was given bare, with its version, or with all of it."""
    server = server.rstrip("/")
    if server.endswith(end):
        return server
    return server + end if urlsplit(server).path else server + version + end


# ── OpenAI ────────────────────────────────────────────────────────────────────────────────────


class _ChatMessage(msgspec.Struct):
    content: Any = None
    refusal: str | None = None


class _Choice(msgspec.Struct):
    message: _ChatMessage
    finish_reason: str | None = None


class _ChatUsage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Chat(msgspec.Struct):
    choices: list[_Choice]
    usage: _ChatUsage | None = None


class OpenAi:
    keys = ("OPENAI_API_KEY",)
    _own = "api.openai.com"

    def url(self, server: str, model: str) -> str:
        return _under(server, "/v1", "/chat/completions")

    def headers(self, key: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {key}"} if key else {}

    def body(self, ask: Ask, host: str) -> dict[str, Any]:
        picture = {"url": f"data:image/jpeg;base64,{ask.picture}"}
        content = [{"type": "text", "text": ask.prompt}, {"type": "image_url", "image_url": picture}]
        body: dict[str, Any] = {"model": ask.model, "messages": [{"role": "user", "content": content}]}
        if host == self._own:  # newer models there refuse `max_tokens` and a temperature
            body |= {"max_completion_tokens": ask.most_tokens, "store": False}
        else:
            body |= {"max_tokens": ask.most_tokens, "temperature": 0}
        if ask.schema:
            form = {"name": _TOOL, "schema": ask.schema, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        return body

    def reply(self, content: bytes) -> Reply:
        chat = msgspec.json.decode(content, type=_Chat)
        usage = chat.usage or _ChatUsage()
        if not chat.choices:
            return Reply("", usage.prompt_tokens, usage.completion_tokens)
        choice = chat.choices[0]
        blocked = "content filter" if choice.finish_reason == "content_filter" else ""
        return Reply(
            _joined(choice.message.content),
            usage.prompt_tokens,
            usage.completion_tokens,
            choice.message.refusal or blocked,
            choice.finish_reason == "length",
        )


def _joined(content: Any) -> str:
    """The text of a message, which some servers send as a list of parts."""
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


# ── Anthropic ─────────────────────────────────────────────────────────────────────────────────


class _Block(msgspec.Struct):
    type: str = ""
    text: str = ""
    input: Any = None


class _MessageUsage(msgspec.Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None


class _Message(msgspec.Struct):
    content: list[_Block]
    stop_reason: str | None = None
    usage: _MessageUsage | None = None


class Anthropic:
    keys = ("ANTHROPIC_API_KEY",)

    def url(self, server: str, model: str) -> str:
        return _under(server, "/v1", "/messages")

    def headers(self, key: str) -> dict[str, str]:
        return {"anthropic-version": _ANTHROPIC_VERSION, **({"x-api-key": key} if key else {})}

    def body(self, ask: Ask, host: str) -> dict[str, Any]:
        source = {"type": "base64", "media_type": "image/jpeg", "data": ask.picture}
        content = [{"type": "image", "source": source}, {"type": "text", "text": ask.prompt}]
        body: dict[str, Any] = {
            "model": ask.model,
            "max_tokens": ask.most_tokens,
            "messages": [{"role": "user", "content": content}],
        }
        if ask.schema:  # a tool that must be called: structured output that all its models have
            tool = {
                "name": _TOOL,
                "description": "Write down what the photo shows.",
                "input_schema": ask.schema,
            }
            body |= {"tools": [tool], "tool_choice": {"type": "tool", "name": _TOOL}}
        return body

    def reply(self, content: bytes) -> Reply:
        message = msgspec.json.decode(content, type=_Message)
        usage = message.usage or _MessageUsage()
        called = [block.input for block in message.content if block.type == "tool_use"]
        words = "".join(block.text for block in message.content if block.type == "text")
        return Reply(
            msgspec.json.encode(called[-1]).decode() if called else words,
            usage.input_tokens,
            usage.output_tokens,
            "refusal" if message.stop_reason == "refusal" else "",
            message.stop_reason == "max_tokens",
        )


# ── Google ────────────────────────────────────────────────────────────────────────────────────


class _Part(msgspec.Struct):
    text: str = ""
    thought: bool = False


class _Content(msgspec.Struct):
    parts: list[_Part] = []


class _Candidate(msgspec.Struct, rename="camel"):
    content: _Content = msgspec.field(default_factory=_Content)
    finish_reason: str = ""


class _Feedback(msgspec.Struct, rename="camel"):
    block_reason: str = ""


class _GoogleUsage(msgspec.Struct, rename="camel"):
    prompt_token_count: int | None = None
    candidates_token_count: int = 0
    thoughts_token_count: int = 0  # paid as written ones


class _Generated(msgspec.Struct, rename="camel"):
    candidates: list[_Candidate] = []
    prompt_feedback: _Feedback | None = None
    usage_metadata: _GoogleUsage | None = None


class Google:
    keys = ("GOOGLE_API_KEY", "GEMINI_API_KEY")
    _fine = ("", "STOP", "MAX_TOKENS")

    def url(self, server: str, model: str) -> str:
        name = model.removeprefix("models/")
        return _under(server, "/v1beta", f"/models/{quote(name, safe='')}:generateContent")

    def headers(self, key: str) -> dict[str, str]:
        return {"x-goog-api-key": key} if key else {}

    def body(self, ask: Ask, host: str) -> dict[str, Any]:
        parts = [{"inlineData": {"mimeType": "image/jpeg", "data": ask.picture}}, {"text": ask.prompt}]
        config: dict[str, Any] = {"maxOutputTokens": ask.most_tokens}
        if ask.schema:  # an OpenAPI schema, which has no `additionalProperties`
            form = {name: part for name, part in ask.schema.items() if name != "additionalProperties"}
            config |= {"responseMimeType": "application/json", "responseSchema": form}
        return {"contents": [{"role": "user", "parts": parts}], "generationConfig": config}

    def reply(self, content: bytes) -> Reply:
        made = msgspec.json.decode(content, type=_Generated)
        usage = made.usage_metadata or _GoogleUsage()
        written = usage.candidates_token_count + usage.thoughts_token_count
        counts = (usage.prompt_token_count, None if made.usage_metadata is None else written)
        if not made.candidates:
            return Reply("", *counts, made.prompt_feedback.block_reason if made.prompt_feedback else "")
        first = made.candidates[0]
        words = "".join(part.text for part in first.content.parts if not part.thought)
        refused = "" if first.finish_reason in self._fine else first.finish_reason
        return Reply(words, *counts, refused, first.finish_reason == "MAX_TOKENS")


APIS: dict[str, Api] = {"openai": OpenAi(), "anthropic": Anthropic(), "google": Google()}
