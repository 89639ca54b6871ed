"""What a caption server is asked, and what is made of what it writes.

Caption and answers come as one JSON object with the keys "caption", "q1", "q2", … Servers that know
structured output get its schema; the others are asked in words, and what they write around the
object (prose, code fences, thoughts) is skipped.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_TASK = (
    "Describe this photo in one or two plain sentences: what it shows, where, and what happens. "
    "Say only what can be seen, and name no private person."
)
_MOST_OBJECTS = 50  # tried in one text: braces in prose do not take for ever
_MOST_VALUE_CHARACTERS = 10_000


def keys_of(questions: Sequence[str]) -> list[str]:
    return [f"q{number}" for number in range(1, len(questions) + 1)]


def prompt(questions: Sequence[str]) -> str:
    """What is asked in words, the form of the answer included."""
    lines = [_TASK]
    if questions:
        lines.append('Answer each question in a few words; with "" where the photo does not tell:')
        lines += [f"{key}: {text}" for key, text in zip(keys_of(questions), questions, strict=True)]
    keys = ", ".join(f'"{key}": "…"' for key in ("caption", *keys_of(questions)))
    lines.append(f"Write one JSON object and nothing else: {{{keys}}}")
    return "\n".join(lines)


def schema(questions: Sequence[str]) -> dict[str, Any]:
    """JSON Schema of the answer, within what all three APIs take."""
    keys = ["caption", *keys_of(questions)]
    return {
        "type": "object",
        "properties": {key: {"type": "string"} for key in keys},
        "required": keys,
        "additionalProperties": False,
    }


def read(text: str, questions: Sequence[str]) -> tuple[str, list[str]] | None:
    """Caption and an answer to each question ("" where there is none); None when there is no caption."""
    found = [item for item in _objects(text) if _text(item.get("caption"))]
    if found:
        item = found[-1]  # a model that thinks aloud says its last word last
        return _text(item["caption"]), _answers(item, questions)
    prose = text.strip()
    if prose and not questions and "{" not in prose:
        return prose, []
    return None


def _objects(text: str) -> Iterator[Mapping[str, Any]]:
    """JSON objects that stand anywhere in a text, outermost ones."""
    decoder = json.JSONDecoder()
    place = text.find("{")
    for _ in range(_MOST_OBJECTS):
        if place < 0:
            return
        try:
            item, end = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            end = place + 1
        else:
            yield item
        place = text.find("{", end)


def _answers(item: Mapping[str, Any], questions: Sequence[str]) -> list[str]:
    """By key; else by the question itself; else from "answers", by key, question or place."""
    inner = item.get("answers")
    listed = inner if isinstance(inner, list) else []
    places: list[Mapping[str, Any]] = [item, inner] if isinstance(inner, dict) else [item]
    answers = []
    for index, (key, question) in enumerate(zip(keys_of(questions), questions, strict=True)):
        values = [place.get(name) for place in places for name in (key, question)]
        values += listed[index : index + 1]
        answers.append(next((text for text in map(_text, values) if text), ""))
    return answers


def _text(value: Any) -> str:
    """A JSON value as words; "" for what is none."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value.strip()[:_MOST_VALUE_CHARACTERS]
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list):
        return ", ".join(text for text in map(_text, value) if text)[:_MOST_VALUE_CHARACTERS]
    if isinstance(value, dict):  # {"question": …, "answer": …}
        return _text(value.get("answer"))
    return ""
