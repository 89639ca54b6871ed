"""Lua table literals, read as data.

A smart collection's rules are stored as a Lua script that assigns one table: `s = { … }`. Nothing of
it is run: the text is cut into tokens, and only braces, names, strings, numbers, `true`, `false` and
`nil` are known. Takes time linear in the text; depth and size are bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

LONGEST_TEXT = 1 << 20  # characters; a smart collection with a hundred rules has some thousand
MOST_DEPTH = 32  # tables in tables; people reach 3
MOST_VALUES = 20_000

_TOKEN = re.compile(
    r"""(?P<space>\s+|--(?!\[=*\[)[^\n]*)
      | (?P<number>-?(?:0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?))
      | (?P<name>[A-Za-z_]\w*)
      | (?P<string>"(?:[^"\\\n]|\\(?s:.))*"|'(?:[^'\\\n]|\\(?s:.))*')
      | (?P<long>\[(?P<level>=*)\[)
      | (?P<mark>[{}\[\]=,;])""",
    re.VERBOSE | re.ASCII,
)
_ESCAPE = re.compile(r"\\(?:(\d{1,3})|x([0-9a-fA-F]{2})|\r\n|\n\r|(?s:(.)))")
_PLAIN_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


class LuaError(Exception):
    """The text is no table literal, or a larger one than is read."""


class Table(NamedTuple):
    """`items` without a name in their order, `fields` by name; numbers that name items are not told apart."""

    items: tuple[Value, ...]
    fields: dict[str, Value]


Value = str | float | bool | None | Table


class _Token(NamedTuple):
    kind: str  # "number", "name", "string", "mark"
    text: str  # of a string, what it stands for


def read_table(text: str) -> Table:
    """The table that a text is, or that it assigns or returns. Raises LuaError."""
    if len(text) > LONGEST_TEXT:
        raise LuaError("it is too long")
    parser = _Parser(_tokens(text))
    parser.pass_assignment()
    value = parser.value(0)
    parser.expect_end()
    if not isinstance(value, Table):
        raise LuaError("it is no table")
    return value


def _tokens(text: str) -> Iterator[_Token]:
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise LuaError(f"character {at + 1} is not understood")
        at = found.end()
        kind = found.lastgroup if found.lastgroup != "level" else "long"
        if kind == "long":
            end = text.find(f"]{found['level']}]", at)
            if end < 0:
                raise LuaError("a long string has no end")
            yield _Token("string", text[at:end].removeprefix("\n"))
            at = end + len(found["level"]) + 2
        elif kind == "string":
            yield _Token("string", _unescaped(found["string"][1:-1]))
        elif kind != "space":
            yield _Token(str(kind), found[0])


def _unescaped(text: str) -> str:
    """Decimal escapes are bytes, which make up UTF-8."""
    if "\\" not in text:
        return text
    done = _ESCAPE.sub(_escape, text)
    return done.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _escape(found: re.Match[str]) -> str:
    decimal, hexadecimal, letter = found.groups()
    if decimal or hexadecimal:
        byte = int(decimal) if decimal else int(hexadecimal, 16)
        return chr(byte) if byte < 0x80 else chr(0xDC00 + min(byte, 0xFF))
    return _PLAIN_ESCAPES.get(letter, letter) if letter else "\n"


class _Parser:
    """Recursive descent, one token ahead."""

    def __init__(self, tokens: Iterator[_Token]) -> None:
        self._tokens = tokens
        self._ahead: list[_Token] = []
        self._values = 0

    def pass_assignment(self) -> None:
        """`return`, or `s =`."""
        token = self._peek()
        if token == _Token("name", "return"):
            self._take()
        elif token is not None and token.kind == "name":
            self._take()
            self._expect("=")

    def value(self, depth: int) -> Value:
        self._values += 1
        if self._values > MOST_VALUES:
            raise LuaError("it has too many values")
        token = self._take()
        match token.kind:
            case "string":
                return token.text
            case "number":
                return _number(token.text)
            case "name" if token.text in ("true", "false", "nil"):
                return {"true": True, "false": False}.get(token.text)
        if token.text != "{":
            raise LuaError(f"{token.text[:20]!r} is no plain value")
        return self._table(depth + 1)

    def _table(self, depth: int) -> Table:
        if depth > MOST_DEPTH:
            raise LuaError("its tables are too deep")
        items: list[Value] = []
        fields: dict[str, Value] = {}
        while (token := self._take()) != _Token("mark", "}"):
            name = self._name(token)
            if name is None:
                self._ahead.insert(0, token)
                items.append(self.value(depth))
            else:
                fields[name] = self.value(depth)
            self._separator()
        return Table(tuple(items), fields)

    def _name(self, token: _Token) -> str | None:
        """The name of the field that begins with this token; None: an item does."""
        if token == _Token("mark", "["):
            key = self._take()
            self._expect("]")
            self._expect("=")
            return key.text
        if token.kind == "name" and self._peek() == _Token("mark", "="):
            self._take()
            return token.text
        return None

    def _separator(self) -> None:
        token = self._peek()
        if token is None or (token.kind, token.text) not in (("mark", ","), ("mark", ";"), ("mark", "}")):
            raise LuaError("a comma or } is missing")
        if token.text != "}":
            self._take()

    def expect_end(self) -> None:
        token = self._peek()
        if token is not None:
            raise LuaError(f"there is more after the table: {token.text[:20]!r}")

    def _expect(self, mark: str) -> None:
        if self._take() != _Token("mark", mark):
            raise LuaError(f"{mark} is missing")

    def _peek(self) -> _Token | None:
        if not self._ahead:
            token = next(self._tokens, None)
            if token is None:
                return None
            self._ahead.append(token)
        return self._ahead[0]

    def _take(self) -> _Token:
        if self._peek() is None:
            raise LuaError("it ends early")
        return self._ahead.pop(0)


def _number(text: str) -> float:
    sign, digits = (-1, text[1:]) if text.startswith("-") else (1, text)
    if digits[:2].lower() == "0x":
        if len(digits) > 18:
            raise LuaError("a number is too long")
        return float(sign * int(digits, 16))
    return sign * float(digits)
