"""The plugin's own JSON codec against Python's, in both directions."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lupa import lua51

from tests.lightroom.sdk import PLUGIN, to_python

EXACT = 2**53
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-EXACT, EXACT)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(texts, inner, max_size=5),
    max_leaves=30,
)


class Codec:
    """Json.lua alone: Python's values in and out through Lua's."""

    def __init__(self) -> None:
        self.lua = lua51.LuaRuntime(encoding=None, unpack_returned_tuples=True)
        self.module: Any = self.lua.execute((PLUGIN / "Json.lua").read_bytes())
        self.null = self.module[b"null"]
        self.is_same: Any = self.lua.eval(b"rawequal")
        self.is_marked_alike: Any = self.lua.eval(
            b"function(a, b) return getmetatable(a) == getmetatable(b) end"
        )

    def to_lua(self, value: Any) -> Any:
        if value is None:
            return self.null
        if isinstance(value, str):
            return value.encode()
        if isinstance(value, list):
            return self.module[b"array"](self.lua.table_from([self.to_lua(item) for item in value]))
        if isinstance(value, dict):
            members = {key.encode(): self.to_lua(item) for key, item in value.items()}
            return self.module[b"object"](self.lua.table_from(members))
        return float(value) if isinstance(value, int) and not isinstance(value, bool) else value

    def encode(self, value: Any) -> str:
        text = self.module[b"encode"](self.to_lua(value))
        assert isinstance(text, bytes), text
        return text.decode()

    def decode(self, text: str | bytes) -> Any:
        """As JSON again by Lua's own hand: what was read is written as it was."""
        raw = text if isinstance(text, bytes) else text.encode()
        found = self.module[b"decode"](raw, True)
        if isinstance(found, tuple):
            raise ValueError(found[1].decode())
        return self._plain(found)

    def _plain(self, value: Any) -> Any:
        if isinstance(value, bytes):
            return value.decode()
        if lua51.lua_type(value) != "table":
            return value
        if self.is_same(value, self.null):
            return None
        if self.is_marked_alike(value, self.module[b"array"](self.lua.table())):
            return [self._plain(value[number]) for number in range(1, len(value) + 1)]
        return {key.decode(): self._plain(value[key]) for key in value}


CODEC = Codec()


@given(values)
@settings(max_examples=150, deadline=None)
def test_what_lua_writes_python_reads(value: Any) -> None:
    assert json.loads(CODEC.encode(value)) == value


@given(values, st.booleans(), st.sampled_from([None, 1]))
@settings(max_examples=150, deadline=None)
def test_what_python_writes_lua_reads(value: Any, ascii_only: bool, indent: int | None) -> None:
    assert CODEC.decode(json.dumps(value, ensure_ascii=ascii_only, indent=indent)) == value


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_number_comes_back_exactly(number: float) -> None:
    assert math.copysign(1, number) == math.copysign(1, number)
    assert json.loads(CODEC.encode(number)) == number


@given(st.binary(max_size=40))
@settings(deadline=None)
def test_bytes_that_are_no_text_are_replaced_and_never_break_the_json(raw: bytes) -> None:
    text = CODEC.module[b"encode"](raw)
    assert "�" in json.loads(text) or json.loads(text).encode() == raw


@given(st.text('[]{}",:truefalsn0123456789.eE+-\\u \n', max_size=30))
@settings(max_examples=300, deadline=None)
def test_it_takes_and_refuses_what_python_does(text: str) -> None:
    def constant(name: str) -> Any:
        raise ValueError(name)

    try:
        expected = json.loads(text, parse_constant=constant, parse_int=float)
    except (ValueError, RecursionError):
        with pytest.raises(ValueError, match=r" at \d+$"):
            CODEC.decode(text)
        return
    try:
        assert CODEC.decode(text) == expected
    except ValueError as error:
        assert "too large" in str(error)  # noqa: PT017 - 1e999, which Python takes for infinity


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("", 1),
        ("nul", 1),
        ('{"a" 1}', 6),
        ("[1,]", 4),
        ("[01]", 2),
        ('["a\nb"]', 4),
        ('"\\x"', 2),
        ('"\\u12g4"', 2),
        ("1 2", 3),
        ('{"a":1', 7),
        ("[" * 101, 101),
    ],
)
def test_what_is_wrong_is_named_with_its_place(text: str, at: int) -> None:
    with pytest.raises(ValueError, match=rf" at {at}$"):
        CODEC.decode(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r'"\ud83d\ude00"', "😀"),
        (r'"\ud83d"', "�"),
        (r'"\ude00x"', "�x"),
        (r'"\ud83d\u0041"', "�A"),
        (r'"\u0000\/\b"', "\0/\b"),
        ('"\x7f"', "\x7f"),
    ],
)
def test_escapes(text: str, value: str) -> None:
    assert CODEC.decode(text) == value


def test_members_that_are_null_are_left_out_unless_they_are_asked_for() -> None:
    found = CODEC.module[b"decode"](b'{"a": null, "b": [null, 1]}')
    assert found[b"a"] is None
    assert CODEC.is_same(found[b"b"][1], CODEC.null)
    assert CODEC.decode('{"a": null}') == {"a": None}


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("0/0", "JSON has no"),
        ("1/0", "JSON has no inf"),
        ("print", "JSON has no function"),
        ("{[true] = 1}", "can't be the name of a member"),
        ("(function() local t = {} t.t = t return t end)()", "nested deeper"),
    ],
)
def test_what_json_does_not_have_is_refused(source: str, says: str) -> None:
    value, message = CODEC.module[b"encode"](CODEC.lua.eval(source.encode()))
    assert value is None
    assert says in to_python(message)


@pytest.mark.parametrize(
    ("source", "text"),
    [("{}", "{}"), ("{1, 2}", "[1,2]"), ("{1, nil, 3}", None), ("{a = 1, b = {}}", '{"a":1,"b":{}}')],
)
def test_a_table_without_a_mark_is_an_array_when_its_keys_are_1_to_n(source: str, text: str | None) -> None:
    found = CODEC.module[b"encode"](CODEC.lua.eval(source.encode()))
    assert found.decode() in ((text,) if text else ('{"1":1,"3":3}',))


def test_a_large_answer_is_read_in_no_time() -> None:
    text = json.dumps(
        [{"photo_id": number, "path": f"/a/é{number}.jpg", "keywords": ["a", "b"]} for number in range(5000)]
    )
    assert len(CODEC.module[b"decode"](text.encode())) == 5000


def test_a_locale_with_a_comma_changes_nothing() -> None:
    """A Lightroom that speaks German once wrote 0,5 for a half."""
    lua = lua51.LuaRuntime(encoding=None, unpack_returned_tuples=True)
    lua.execute(
        b"local format, number = string.format, tonumber\n"
        b"string.format = function(form, ...) local text = format(form, ...)"
        b" if form:find('%%%.%d*[fg]') then text = text:gsub('%.', ',') end return text end\n"
        b"tonumber = function(text, base) if base then return number(text, base) end"
        b" if type(text) == 'string' then if text:find('.', 1, true) then return nil end"
        b" text = text:gsub(',', '.') end return number(text) end"
    )
    module: Any = lua.execute((PLUGIN / "Json.lua").read_bytes())
    assert module[b"encode"](lua.table_from([0.5, 2.0, -1e-7])) == b"[0.5,2,-1e-07]"
    assert list(module[b"decode"](b"[0.25, -3.5e2]").values()) == [0.25, -350.0]
