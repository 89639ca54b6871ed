"""A plan back as text: as a query that reads the same, and in words for people."""

from __future__ import annotations

import datetime
import math
import re

from catalogd.query.keys import TABLE, Kind
from catalogd.records import Branch, Clause, Condition, Group, Plan

_KINDS = {key.name: key.kind for key in TABLE}
_WHOLE = frozenset(key.name for key in TABLE if key.unit and key.unit.whole)
_BARE = re.compile(r"[^\s\"()|“”„‟]+")  # a value that needs no quotes
_DAY_S = 86400
_ROUND_DIGITS = 5  # so many digits fewer has a number that somebody typed than one just beside it
_SAID_PER = {"size": 1e6}  # so many of the field's unit in one of what is said

# Field → how people say it, with "{}" for the number or the range.
_SAID = {
    "iso": "ISO {}",
    "f": "f-number {}",
    "exposure": "exposed {} s",
    "focal": "focal length {} mm",
    "focal35": "focal length {} mm (35 mm)",
    "rating": "rating {}",
    "faces": "faces {}",
    "sharp": "sharpness {}",
    "noise": "noise {}",
    "brightness": "brightness {}",
    "aesthetics": "aesthetics {}",
    "mp": "{} megapixels",
    "width": "width {} px",
    "height": "height {} px",
    "size": "size {} MB",
    "altitude": "altitude {} m",
    "date": "taken {}",
    "added": "added {}",
}


# -- as a query ------------------------------------------------------------------------------------


def write(plan: Plan) -> str:
    """A query text that `parse` reads as the same plan, whatever day it is then."""
    branches = [_branch(branch) for branch in plan.branches]
    text = branches[0] if len(branches) == 1 else " OR ".join(f"({branch})" for branch in branches)
    aside = [
        f"{'-' if example.negated else ''}similar:{_value(example.photo)}"
        for example in plan.branches[0].examples
    ]
    if plan.order:
        aside.append(f"order:{plan.order}")
    return " ".join(filter(None, [f"({text})" if aside and len(branches) > 1 else text, *aside]))


def _branch(branch: Branch) -> str:
    return " ".join(filter(None, [branch.words, *map(_clause, branch.filters)]))


def _clause(clause: Clause) -> str:
    sign = "-" if clause.negated else ""
    if isinstance(clause, Condition):
        return sign + _condition(clause)
    joint = " OR " if clause.any else " "
    return f"{sign}({joint.join(map(_clause, clause.parts))})"


def _condition(condition: Condition) -> str:
    field, words = condition.field, condition.words
    if field == "any":
        return words or ""
    if words is not None:
        return f"{field}:{words if _is_phrase(words) else _value(words)}"
    if condition.numbers:
        return f"{field}:{','.join(map(_number, condition.numbers))}"
    spelled = _date_range(condition) if _KINDS[field] is Kind.DATE else _range(condition)
    return f"{field}:{spelled}"


def _is_phrase(words: str) -> bool:
    """Whether the value holds its quotes already: of text, title, caption and answer."""
    return len(words) > 2 and words[0] == words[-1] == '"' and " " in words


def _value(words: str) -> str:
    return words if _BARE.fullmatch(words) else '"' + words.replace('"', '""') + '"'


def _number(number: float) -> str:
    return str(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)


def _range(condition: Condition) -> str:
    low, high = condition.low, condition.high
    if low is not None and low == high and condition.field in _WHOLE:
        return _number(low)
    return f"{'' if low is None else _number(low)}..{'' if high is None else _number(high)}"


def _date_range(condition: Condition) -> str:
    low, high = (_moment(condition, seconds) for seconds in (condition.low, condition.high))
    return f"{_spelled(low, 0)}..{_spelled(high, _DAY_S - 1)}"


def _spelled(moment: datetime.datetime | None, whole: int) -> str:
    """A day where its second `whole` is meant, else day and time."""
    if moment is None:
        return ""
    return f"{moment.date()}" if _second(moment) == whole else moment.isoformat()


def _second(moment: datetime.datetime) -> int:
    return moment.hour * 3600 + moment.minute * 60 + moment.second


def _moment(condition: Condition, seconds: float | None) -> datetime.datetime | None:
    """The second on the clock that the field is counted by; the parser's ends are whole ones."""
    if seconds is None:
        return None
    if condition.field == "added":
        return datetime.datetime.fromtimestamp(seconds)
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).replace(tzinfo=None)


# -- for people ------------------------------------------------------------------------------------


def render(plan: Plan) -> tuple[str, ...]:
    """How a plan was read: a line a branch, and one for what is said of all of it."""
    lines = [_branch_said(branch) for branch in plan.branches]
    lines = lines[:1] + [f"or {line}" for line in lines[1:]]
    aside = [
        f"{'unlike' if example.negated else 'like'} {example.photo}" for example in plan.branches[0].examples
    ]
    if plan.order:
        aside.append(f"in order of {', then '.join(map(_order_said, plan.order.split(',')))}")
    return (*lines, *([" · ".join(aside)] if aside else []))


def _order_said(order: str) -> str:
    return f"{order[1:]}, the other way round" if order.startswith("-") else order


def _branch_said(branch: Branch) -> str:
    parts = [f"words: {branch.words}"] if branch.words else []
    return " · ".join([*parts, *map(_said, branch.filters)]) or "all photos"


def _said(clause: Clause) -> str:
    if isinstance(clause, Group):
        inner = (" or " if clause.any else " and ").join(map(_said, clause.parts))
        return f"not ({inner})" if clause.negated else f"({inner})"
    return f"{'not ' if clause.negated else ''}{_condition_said(clause)}"


def _condition_said(condition: Condition) -> str:
    field, words = condition.field, condition.words
    if field == "any":
        return f"the word {words}" if words and " " not in words else f"the words {words}"
    if field == "in":
        return f"in the folder {words}"
    if words is not None:
        return f"{field} {words}" if field in ("person", "is", "has") else f"{field}: {words}"
    if condition.numbers:
        north, east, km = condition.numbers
        return f"within {km:g} km of {north:g}, {east:g}"
    spelled = _span_said(condition) if _KINDS.get(field) is Kind.DATE else _range_said(condition)
    return _SAID.get(field, field + " {}").format(spelled)


def _range_said(condition: Condition) -> str:
    per = _SAID_PER.get(condition.field, 1)
    low, high = (None if end is None else end / per for end in (condition.low, condition.high))
    if low is not None and high is not None:
        return _short(low) if low == high else f"{_short(low)} to {_short(high)}"
    if low is not None:
        return f"{'>' if _is_just_beside(low, -math.inf) else '≥'} {_short(low)}"
    return f"{'<' if _is_just_beside(high or 0.0, math.inf) else '≤'} {_short(high or 0.0)}"


def _is_just_beside(end: float, towards: float) -> bool:
    """Whether the next number is the round one that a person wrote, and did not mean."""
    return len(repr(end)) > len(repr(math.nextafter(end, towards))) + _ROUND_DIGITS


def _short(number: float) -> str:
    """Six digits; a whole number all of its own; a short exposure as people write it."""
    if number.is_integer():
        return f"{int(number)}"
    return f"1/{1 / number:.3g}" if 0 < number < 0.3 and _is_near_whole(1 / number) else f"{number:.6g}"


def _is_near_whole(number: float) -> bool:
    return math.isclose(number, round(number), rel_tol=1e-6)


def _span_said(condition: Condition) -> str:
    low, high = (_moment(condition, seconds) for seconds in (condition.low, condition.high))
    first, last = (_day_said(moment) for moment in (low, high))
    if first and last:
        return first if first == last else f"{first} to {last}"
    return f"from {first} on" if first else f"up to {last}"


def _day_said(moment: datetime.datetime | None) -> str:
    """A day; with its time where that is neither its first second nor its last."""
    if moment is None:
        return ""
    return f"{moment.date()}" if _second(moment) in (0, _DAY_S - 1) else f"{moment:%Y-%m-%d %H:%M}"
