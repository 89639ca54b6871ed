"""The query language: text → `Plan`. docs/query.md has the grammar and what it means.

::

    text ──cut──▶ tokens ──_Parser──▶ one tree of clauses ──branches──▶ Plan
                                      free words are conditions       each branch: words and filters

A query is read by recursive descent, one method a rule of the grammar. In the tree a free word is a condition
on "any". Then what holds free words is multiplied out into branches, since words rank photos and don't only
leave some out; alternatives and negations without ranking words stay trees of filters.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from catalogd.errors import QueryError
from catalogd.query.keys import (
    HAS_WORDS,
    IS_WORDS,
    KEYS,
    Key,
    Kind,
    condition,
    find_key,
    is_date,
    nearest_key,
    order_of,
)
from catalogd.records import Branch, Clause, Condition, Example, Group, Plan

__all__ = ["HAS_WORDS", "IS_WORDS", "KEYS", "parse"]

MOST_CHARACTERS = 10_000  # of a query; a pasted book must not hold up the server
MOST_BRANCHES = 16  # each is a search of its own
MOST_NESTED = 50  # parentheses in parentheses
_MOST_DATE_WORDS = 4  # "date:the last 3 months"

_ANY = "any"  # field of a free word
_PHRASE_KEYS = ("text", "title", "caption", "answer")  # what is quoted there is meant word after word

_SPACE = re.compile(r"\s+")
_OPERATOR = re.compile(r'(?:OR|AND|NOT)(?=[\s()"|]|$)|[()|]')
_DASH = re.compile(r"-+(?=[\s)|]|$)")  # stands alone: "rock - roll"
_MINUS = re.compile(r"-(?!-)")
_KEY = re.compile(r"([^\W\d]\w*)(:|(?=[<>=≤≥]))")  # also iso>=400
_ADDRESS = ("//", "\\")  # behind a colon: http://x and C:\x are words
_QUOTED = re.compile(r'"((?:[^"]|"")*)"')
_WORD = re.compile(r'[^\s"()|](?:[^\s"()|]|\([^\s"()|]*\))*')  # IMG(1).jpg
_WORD_WITH_BARS = re.compile(r'[^\s"()](?:[^\s"()]|\([^\s"()]*\))*')
_QUOTES = str.maketrans("“”„‟", '""""')  # as phones and word processors type them


class Token(NamedTuple):
    """A piece of a query text."""

    kind: str  # "word", "phrase", "key", "NOT", "OR", "AND", "(", ")", "-"
    text: str  # a word as it stands, a phrase with its quotes, the value of a key without
    start: int
    end: int
    key: Key | None = None
    is_quoted: bool = False  # some of the value


def parse(
    text: str, limit: int = 20, min_score: float | None = None, *, today: datetime.date | None = None
) -> Plan:
    """Read a query. Raises QueryError with the position of what it can't read.

    `today` is what relative dates are counted from; without it, this machine's.
    """
    if len(text) > MOST_CHARACTERS:
        raise QueryError(f"a query has at most {MOST_CHARACTERS} characters", MOST_CHARACTERS)
    parser = _Parser(cut(text.translate(_QUOTES)), today or datetime.date.today())
    clause = parser.query()
    branches = branches_of(clause) if clause is not None else [Branch()]
    examples = tuple(parser.examples)
    return Plan(
        tuple(msgspec.structs.replace(branch, examples=examples) for branch in branches),
        text,
        parser.order,
        limit,
        min_score,
    )


# -- tokens ----------------------------------------------------------------------------------------


def cut(text: str) -> list[Token]:
    """The tokens of a query, in order. Raises QueryError for a quote that is never closed, or a wrong key."""
    tokens: list[Token] = []
    position = 0
    while position < len(text):
        if space := _SPACE.match(text, position):
            position = space.end()
            continue
        token = _token_at(text, position)
        if token.text.strip('" ') or token.kind != "phrase":
            tokens.append(token)
        position = token.end
    return tokens


def _token_at(text: str, start: int) -> Token:
    if found := _OPERATOR.match(text, start):
        return Token("OR" if found[0] == "|" else found[0], found[0], start, found.end())
    if found := _DASH.match(text, start):
        return Token("-", found[0], start, found.end())
    if found := _MINUS.match(text, start):
        return Token("NOT", "-", start, found.end())
    if text[start] == '"':
        end = _end_of_quote(text, start)
        return Token("phrase", text[start:end], start, end)
    if (found := _KEY.match(text, start)) and (token := _key_at(text, found)):
        return token
    found = _WORD.match(text, start)
    assert found is not None
    return Token("word", found[0], start, found.end())


def _key_at(text: str, found: re.Match[str]) -> Token | None:
    """A key with its value; None where a word only looks like one."""
    start, key, has_colon = found.start(), find_key(found[1]), bool(found[2])
    if key is None and (not has_colon or text.startswith(_ADDRESS, found.end())):
        return None
    if key is not None and not has_colon and key.kind not in (Kind.NUMBER, Kind.DATE):
        return None
    value, end, is_quoted = _value_at(text, found.end(), key)
    is_group = text.startswith("(", end) and not value and not is_quoted
    if key is None:
        if value or is_group or is_quoted:
            raise _unknown_key(found[1], start)
        return None  # "note: see below"
    if not (value.strip() or is_group):
        raise QueryError(f"{key.name}: {_at(start)} needs a value right after it: {key.example}", start)
    return Token("key", value, start, end, key, is_quoted)


def _value_at(text: str, start: int, key: Key | None) -> tuple[str, int, bool]:
    """The value that begins at `start`, where it ends, and whether some of it is in quotes."""
    plain = _WORD_WITH_BARS if key is not None and key.has_bars else _WORD
    pieces, position, is_quoted = [], start, False
    while position < len(text):
        if text[position] == '"':
            end = _end_of_quote(text, position)
            pieces.append(text[position + 1 : end - 1].replace('""', '"'))
            is_quoted = True
        elif found := plain.match(text, position):
            pieces.append(found[0])
            end = found.end()
        else:
            break
        position = end
    return "".join(pieces), position, is_quoted


def _end_of_quote(text: str, start: int) -> int:
    found = _QUOTED.match(text, start)
    if found is None:
        raise QueryError(f"the quote {_at(start)} is never closed", start)
    return found.end()


def _unknown_key(name: str, start: int) -> QueryError:
    near = nearest_key(name)
    meant = f"did you mean {near}:? " if near else ""
    known = f"there are {', '.join(f'{key}:' for key in KEYS)}; "
    return QueryError(
        f"there is no key {name}: {_at(start)}; {meant or known}put it in quotes to look for it as it stands",
        start,
    )


def _at(position: int) -> str:
    return f"(at position {position + 1})"


# -- the grammar -----------------------------------------------------------------------------------


class _Parser:
    """Reads tokens once, from the left. What is said of the whole query is put aside."""

    def __init__(self, tokens: Sequence[Token], today: datetime.date) -> None:
        self._tokens = tokens
        self._today = today
        self._next = 0
        self._nested = 0
        self._key: Key | None = None  # inside camera:( … )
        self.order = ""
        self._order_at = 0
        self.examples: list[Example] = []

    def query(self) -> Clause | None:
        """query = any. None where it says nothing but an order or examples."""
        if not self._tokens:
            raise QueryError("an empty query: say what to look for")
        clause = self._any()
        if self._peek() is not None:
            wrong = self._take()
            raise QueryError(
                f"the ) {_at(wrong.start)} closes nothing; put it in quotes if it is a part of a text",
                wrong.start,
            )
        return clause

    def _any(self) -> Clause | None:
        """any = all { ( "OR" | "|" ) all }"""
        alternatives = [self._all()]
        while (operator := self._peek()) is not None and operator.kind == "OR":
            alternatives.append(self._all(after=self._take()))
        if len(alternatives) == 1:
            return alternatives[0]
        if self._nested == 0:
            self._check_alternatives(alternatives)
        return _group([part for part in alternatives if part is not None], any_of=True)

    def _check_alternatives(self, alternatives: list[Clause | None]) -> None:
        if self.examples:
            position = self.examples[0].position
            raise QueryError(
                f"similar: {_at(position)} stands beside OR; put the alternatives in parentheses: "
                "(cat OR dog) similar:…",
                position,
            )
        if None in alternatives:
            raise QueryError(
                f"order: {_at(self._order_at)} is no alternative; write it behind the last one",
                self._order_at,
            )

    def _all(self, after: Token | None = None) -> Clause | None:
        """all = operand { [ "AND" ] operand }, where a dash that stands alone between two is none."""
        parts: list[Clause | None] = []
        joint = after  # an operator or a dash that something has to follow
        while (token := self._peek()) is not None and token.kind not in ("OR", ")"):
            if token.kind in ("AND", "-"):
                if not parts or joint is not None:
                    raise self._dangling(token, "stands before")
                joint = self._take()
                continue
            parts.append(self._operand())
            joint = None
        if joint is not None:
            raise self._dangling(joint, "follows")
        if not parts:
            raise self._nothing()
        clauses = [part for part in parts if part is not None]
        return _group(clauses, any_of=False) if clauses else None

    def _operand(self, negations: int = 0) -> Clause | None:
        """operand = [ "-" | "NOT" ] ( "(" any ")" | key ":" value | word | phrase )"""
        token = self._take()
        while token.kind == "NOT":
            negations += 1
            if self._peek() is None or (after := self._take()).kind in ("OR", "AND", ")", "-"):
                raise self._dangling(token, "follows")
            token = after
        if token.key is not None and token.key.kind in (Kind.EXAMPLE, Kind.ORDER):
            self._put_aside(token, negations)
            return None
        self._nested += negations > 0
        clause = self._primary(token)
        self._nested -= negations > 0
        return _negated(clause) if negations % 2 else clause

    def _primary(self, token: Token) -> Clause:
        if token.kind == "(":
            return self._parenthesis(token, self._key)
        if token.key is None:
            return self._free(token)
        if self._key is not None:
            raise QueryError(
                f"{token.key.name}: {_at(token.start)} stands inside {self._key.name}:( … ), "
                "where there are only values",
                token.start,
            )
        if not token.text:
            return self._parenthesis(self._take(), token.key)
        if token.key.kind is Kind.DATE and not token.is_quoted:
            return self._condition(token.key, self._longest_date(token, token.key))
        return self._condition(token.key, token)

    def _parenthesis(self, opening: Token, key: Key | None) -> Clause:
        """ "(" any ")"; with a key before it, each word in it is a value of that key."""
        if self._nested >= MOST_NESTED:
            raise QueryError(f"the parentheses {_at(opening.start)} are nested too deeply", opening.start)
        around, self._key = self._key, key
        self._nested += 1
        clause = self._any()
        self._nested -= 1
        self._key = around
        if self._peek() is None:
            raise QueryError(f"the ( {_at(opening.start)} is never closed", opening.start)
        self._take()
        assert clause is not None  # order: and similar: are refused in here
        return clause

    def _free(self, token: Token) -> Clause:
        """A word or a phrase outside keys, or a value inside camera:( … )."""
        if self._key is None:
            return Condition(_ANY, words=token.text, position=token.start)
        is_quoted = token.kind == "phrase"
        value = token.text[1:-1].replace('""', '"') if is_quoted else token.text
        return self._condition(self._key, token._replace(text=value, is_quoted=is_quoted))

    def _condition(self, key: Key, token: Token) -> Condition:
        read = condition(key, token.text, token.start, self._today)
        if token.is_quoted and key.name in _PHRASE_KEYS and " " in (read.words or ""):
            return msgspec.structs.replace(read, words=_in_quotes(read.words or ""))
        return read

    def _longest_date(self, token: Token, key: Key) -> Token:
        """`date:last summer` without quotes: as many words behind it as still are a date with it."""
        found, value = token, token.text
        for count, word in enumerate(self._tokens[self._next : self._next + _MOST_DATE_WORDS], 1):
            if word.kind != "word":
                break
            value = f"{value} {word.text}"
            if is_date(key, value, self._today):
                found, taken = token._replace(text=value, end=word.end), count
        if found is not token:
            self._next += taken
        return found

    def _put_aside(self, token: Token, negations: int) -> None:
        """order: and similar:, which are said of the whole query."""
        key, position = token.key, token.start
        assert key is not None
        if self._nested or not token.text or self._key is not None or negations > 1:
            raise QueryError(
                f"{key.name}: {_at(position)} is said of the whole query: "
                "write it outside of parentheses and NOT",
                position,
            )
        if key.kind is Kind.EXAMPLE:
            self.examples.append(Example(token.text.strip(), negated=negations == 1, position=position))
            return
        if negations or self.order:
            raise QueryError(
                f'order: {_at(position)} is said once; the other way round it is "order:-date"', position
            )
        self.order, self._order_at = order_of(token.text, position), position

    def _peek(self) -> Token | None:
        return self._tokens[self._next] if self._next < len(self._tokens) else None

    def _take(self) -> Token:
        token = self._tokens[self._next]
        self._next += 1
        return token

    def _dangling(self, token: Token, where: str) -> QueryError:
        word = token.text
        return QueryError(
            f"nothing {where} {word} {_at(token.start)}; "
            f'put it in quotes, "{word}", if it is a word to look for',
            token.start,
        )

    def _nothing(self) -> QueryError:
        """There is no operand where one must be."""
        wrong = self._peek()
        if wrong is None:
            last = self._tokens[-1]
            return QueryError(f"nothing follows {last.text} {_at(last.start)}", last.start)
        if wrong.kind == "OR":
            return self._dangling(wrong, "stands before")
        if self._nested:
            return QueryError(f"there is nothing in the parentheses {_at(wrong.start)}", wrong.start)
        return QueryError(
            f"the ) {_at(wrong.start)} closes nothing; put it in quotes if it is a part of a text",
            wrong.start,
        )


# -- trees and branches ----------------------------------------------------------------------------


def _group(parts: list[Clause], any_of: bool) -> Clause:
    """All or any of the parts, without groups in groups of the same kind."""
    flat: list[Clause] = []
    for part in parts:
        same = isinstance(part, Group) and part.any == any_of and not part.negated
        flat.extend(part.parts if same and isinstance(part, Group) else [part])
    return flat[0] if len(flat) == 1 else Group(tuple(flat), any=any_of)


def _negated(clause: Clause) -> Clause:
    return msgspec.structs.replace(clause, negated=not clause.negated)


def branches_of(clause: Clause) -> list[Branch]:
    """The ways to satisfy a clause, by what is in them: words to rank by, and filters.

    Raises QueryError where they are more than MOST_BRANCHES.
    """
    if not _ranks(clause):
        return [Branch(filters=_flat(clause))]
    if isinstance(clause, Condition):
        return [Branch(clause.words or "")]
    if clause.any:
        found = [branch for part in clause.parts for branch in branches_of(part)]
        return _counted(found, clause)
    product = [Branch()]
    for part in clause.parts:
        ways = branches_of(part)
        if len(product) * len(ways) > MOST_BRANCHES:
            raise _too_many(part)
        product = [_both(first, second) for first in product for second in ways]
    return product


def _ranks(clause: Clause) -> bool:
    """Whether there are free words in it that are wanted, and so rank photos."""
    if clause.negated:
        return False
    if isinstance(clause, Condition):
        return clause.field == _ANY
    return any(_ranks(part) for part in clause.parts)


def _flat(clause: Clause) -> tuple[Clause, ...]:
    if isinstance(clause, Group) and not clause.any and not clause.negated:
        return clause.parts
    return (clause,)


def _both(first: Branch, second: Branch) -> Branch:
    words = " ".join(filter(None, (first.words, second.words)))
    return Branch(words, first.filters + second.filters)


def _counted(found: list[Branch], clause: Clause) -> list[Branch]:
    if len(found) > MOST_BRANCHES:
        raise _too_many(clause)
    return found


def _too_many(clause: Clause) -> QueryError:
    position = next(_positions(clause))
    return QueryError(
        f"the alternatives {_at(position)} make more than {MOST_BRANCHES} searches: "
        "leave some of the OR between words away",
        position,
    )


def _positions(clause: Clause) -> Iterator[int]:
    if isinstance(clause, Condition):
        yield clause.position
    else:
        for part in clause.parts:
            yield from _positions(part)


def _in_quotes(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
