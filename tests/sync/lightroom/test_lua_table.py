"""Lua table literals: read as Lua reads them, and nothing else is."""

from __future__ import annotations

import contextlib
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lupa import lua51

from catalogd.sync.lightroom.lua_table import LuaError, Table, Value, read_table


def table(*items: Value, **fields: Value) -> Table:
    return Table(items, fields)


def test_items_and_fields_of_every_kind_are_read() -> None:
    text = """s = {
        "a\\"b\\\\c\\n", 'it''s' == nil and 1 or nil,
    }"""
    with pytest.raises(LuaError):
        read_table(text)
    text = """s = {
        "a\\"b\\\\c\\n\\065", 'single', [[long
"string"]], -- a comment
        -1.5e2, 0x10, .5, true, false, nil;
        name = 1, ["an id"] = { nested = {} },
    }"""
    found = read_table(text)
    assert found.items == ('a"b\\c\nA', "single", 'long\n"string"', -150.0, 16.0, 0.5, True, False, None)
    assert found.fields == {"name": 1.0, "an id": table(nested=table())}


def test_the_table_may_be_returned_assigned_or_stand_alone() -> None:
    for before in ("", "return ", "s = ", "smart_rules="):
        assert read_table(before + "{ 1 }") == table(1.0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "s =",
        "s = 5",
        "s = { 1",
        "s = { 1 2 }",
        "s = { f() }",
        "s = { os.execute('x') }",
        "s = { x }",
        "s = { function() end }",
        "s = { 1 } os.exit()",
        "s = { 'open }",
        "s = { [[open }",
        "s = { 1 + 1 }",
        "s = { 'a' .. 'b' }",
        "s = { [1 }",
        "s = { = 1 }",
        "while true do end",
    ],
)
def test_what_is_no_plain_table_is_refused(text: str) -> None:
    with pytest.raises(LuaError):
        read_table(text)


def test_depth_size_and_number_of_values_are_bounded() -> None:
    assert read_table("{" * 32 + "}" * 32)
    for text in (
        "{" * 33 + "}" * 33,
        "{" * 100_000,
        "{" + "1," * 20_001 + "}",
        "{'" + "x" * (1 << 20) + "'}",
    ):
        with pytest.raises(LuaError):
            read_table(text)


RESERVED = frozenset(
    [
        "and",
        "break",
        "do",
        "else",
        "elseif",
        "end",
        "false",
        "for",
        "function",
        "if",
        "in",
        "local",
        "nil",
        "not",
        "or",
        "repeat",
        "return",
        "then",
        "true",
        "until",
        "while",
    ]
)
NAMES = st.from_regex(r"[a-z]{1,8}", fullmatch=True).filter(lambda name: name not in RESERVED)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.floats(allow_nan=False, allow_infinity=False).map(lambda number: float(repr(number)))
    | st.text(st.characters(codec="utf-8"), max_size=20),
    lambda inner: st.builds(
        lambda items, fields: Table(tuple(items), fields),
        st.lists(inner, max_size=3),
        st.dictionaries(NAMES, inner, max_size=3),
    ),
    max_leaves=8,
)

TABLES = VALUES.filter(lambda value: isinstance(value, Table))


def written(value: Value) -> str:
    """As Lightroom writes a table."""
    match value:
        case None:
            return "nil"
        case bool():
            return "true" if value else "false"
        case float():
            return repr(value)
        case str():
            return '"' + re.sub(r'[\\"\n\r\0]', lambda found: f"\\{ord(found[0]):03d}", value) + '"'
        case Table(items, fields):
            parts = [written(item) for item in items]
            parts += [f"{name} = {written(item)}" for name, item in fields.items()]
            return "{ " + ", ".join(parts) + " }"


@settings(max_examples=40)
@given(TABLES)
def test_what_is_written_is_read_again(value: Table) -> None:
    assert read_table(f"s = {written(value)}\n") == value


@settings(max_examples=40)
@given(TABLES)
def test_lua_itself_reads_the_same(value: Table) -> None:
    runtime = lua51.LuaRuntime(encoding="utf-8", register_eval=False)
    found = runtime.execute(f"s = {written(value)}\nreturn s")
    assert same(found, value)


def same(found: object, value: Value) -> bool:
    if isinstance(value, Table):
        items = all(same(found[number], item) for number, item in enumerate(value.items, 1))  # type: ignore[index]
        return items and all(same(found[name], item) for name, item in value.fields.items())  # type: ignore[index]
    return found == value


@given(st.text(st.sampled_from("{}[]=,;\"'\\ abs019.-\nnil[[]]xé"), max_size=60))
def test_any_text_is_a_table_or_an_error(text: str) -> None:
    with contextlib.suppress(LuaError):
        assert isinstance(read_table(text), Table)
