"""Keywords in a sidecar: one set of them, in every list in which some program looks for it.

Programs believe one list and pass over the others (digiKam: digiKam:TagsList, else
lr:hierarchicalSubject, else dc:subject; darktable passes over dc:subject when there is a
lr:hierarchicalSubject, and rewrites it from that). So each list holds all keywords, in its own spelling:

======================  ===============  ============================================
dc:subject              `Dog`            the last level alone
lr:hierarchicalSubject  `Animals|Dog`    flat keywords stand in it as they are
digiKam:TagsList        `Animals/Dog`    a "/" within a level is written as a backslash
======================  ===============  ============================================

Two others are kept up where they are there. Lists that somebody else made keep their entries in their
order and get what is missing; a list that catalogd made follows the others.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence

from catalogd.metadata.values import MAX_WORDS
from catalogd.metadata.xmp import BAG, SEQ, Value
from catalogd.metadata.xmp_facts import INTERNAL_KEYWORD
from catalogd.records import Facts
from catalogd.sync.ownership import Ours, merged, taken_out
from catalogd.sync.packet import key, relisted, text
from catalogd.sync.policy import SEPARATOR, KeywordPath


@dataclasses.dataclass(frozen=True)
class _Kind:
    """A property that holds keywords. `separator` of levels; "": it has the last level alone."""

    name: str
    separator: str
    array: str
    made: bool = True  # by catalogd, where it is absent

    def spell(self, path: KeywordPath) -> str:
        if not self.separator:
            return path[-1]
        if self.separator == "/":
            path = tuple(level.replace("/", "\\") for level in path)
        return self.separator.join(path)

    def path(self, spelled: str) -> KeywordPath:
        levels = spelled.split(self.separator) if self.separator else [spelled]
        if self.separator == "/":
            levels = [level.replace("\\", "/") for level in levels]
        return tuple(filter(None, (level.replace(SEPARATOR, " ").strip() for level in levels)))


_FLAT = _Kind("dc:subject", "", BAG)
_KINDS = (
    _FLAT,
    _Kind("lr:hierarchicalSubject", "|", BAG),
    _Kind("digiKam:TagsList", "/", SEQ),
    _Kind("MicrosoftPhoto:LastKeywordXMP", "/", BAG, made=False),
    _Kind("mediapro:CatalogSets", "|", BAG, made=False),
)
# What programs that hold their own keywords write anew: darktable, Lightroom, Bridge.
REWRITTEN = ("dc:subject", "lr:hierarchicalSubject")


class _List:
    """One list of a packet: `items` as they stand in it, None when it is absent."""

    def __init__(self, kind: _Kind, value: Value | None) -> None:
        self.kind = kind
        self.value = value
        self.items = (value.items if value.kind else [value]) if value is not None else None
        self.keys = [self.key(kind.path(item.text)) for item in self.items or ()]

    def key(self, path: KeywordPath) -> str:
        """By which a keyword is known in this list: its last level, or all of them, whatever their case."""
        return _key(path if self.kind.separator else path[-1:])

    def standing(self, recorded: Iterable[str]) -> set[str]:
        """Which of some recorded keywords stand in it."""
        here = set(self.keys)
        return {entry for entry in recorded if self.key(_path(entry)) in here}

    def paths(self, items: Iterable[Value]) -> list[KeywordPath]:
        """The keywords of some items, without what programs keep for themselves."""
        shown = (item.text for item in items if not INTERNAL_KEYWORD.match(item.text))
        return [path for path in map(self.kind.path, shown) if path]


def keyword_changes(
    properties: Mapping[str, Value], wanted: Sequence[KeywordPath], facts: Facts, ours: Ours
) -> tuple[dict[str, Value | None], Ours]:
    """What must change so that `wanted` are catalogd's keywords, and what is then recorded.

    A keyword that somebody else gave, or took out, is not among catalogd's. `facts` tell the keywords
    in the photo itself: a first list has those too, for programs look no further once there is one.
    """
    if not wanted and not ours.keywords:
        return {}, ours
    sidecar = _Keywords(properties, ours)
    rejected = merged(ours.rejected_keywords, sidecar.taken_out())
    union = _of_photo(facts, ours) if sidecar.only_copies else sidecar.union()
    refused = {_key(_path(entry)[-1:]) for entry in rejected} | _levels(union)
    chosen = [path for path in wanted if _key(path[-1:]) not in refused]
    changes: dict[str, Value | None] = {}
    after = dataclasses.replace(
        ours, keywords=tuple(SEPARATOR.join(path) for path in chosen), rejected_keywords=rejected
    )
    said: list[KeywordPath] = []  # by the lists that are not catalogd's
    for entry in sidecar.lists:
        if entry.items is None and not (entry.kind.made and chosen):
            continue
        made = entry.items is None or entry in sidecar.derived
        items = _made(entry.kind, union) if made else sidecar.completed(entry, said, [*union, *chosen])
        claimed = made and ours.may_claim(entry.kind.name, ours.keywords)
        if not claimed:
            said += entry.paths(items)
        after = after.claiming(entry.kind.name, _contents(items) if claimed else None)
        changes |= _change(entry, [*items, *_added(entry, items, chosen)])
    return changes, after


def keyword_removal(properties: Mapping[str, Value], ours: Ours) -> dict[str, Value | None]:
    """What takes out catalogd's keywords, and the lists that it made."""
    sidecar = _Keywords(properties, ours)
    changes: dict[str, Value | None] = {}
    for entry in sidecar.lists:
        changes |= _change(entry, [] if entry in sidecar.derived else sidecar.theirs[entry.kind])
    return changes


def was_rewritten(properties: Mapping[str, Value], ours: Ours) -> bool:
    """Whether a program that never knew what catalogd wrote has written its own set of properties anew.

    See Note [who took it out]: all of catalogd's keywords stand in a list that such programs leave
    alone, and none in those that they write.
    """
    lists = [_List(kind, properties.get(key(kind.name))) for kind in _KINDS]
    written = [entry.standing(ours.keywords) for entry in lists if entry.kind.name in REWRITTEN]
    others = [entry.standing(ours.keywords) for entry in lists if entry.kind.name not in REWRITTEN]
    return bool(ours.keywords) and not any(written) and set(ours.keywords) in others


def has_keywords(properties: Mapping[str, Value]) -> bool:
    return any(properties[key(kind.name)].all() for kind in _KINDS if key(kind.name) in properties)


# ── whose is what ─────────────────────────────────────────────────────────────────────────────


class _Keywords:
    """The lists of a sidecar. `theirs`: the items of each that are not catalogd's.

    `derived` are those that catalogd made, in which nobody has changed since what was copied into
    them; `kept` those that say what somebody's keywords are: the others, or else all. With
    `only_copies` it is the photo itself that says it.
    """

    def __init__(self, properties: Mapping[str, Value], ours: Ours) -> None:
        self._ours = ours
        self.lists = [_List(kind, properties.get(key(kind.name))) for kind in _KINDS]
        self._here = here = [entry for entry in self.lists if entry.items is not None]
        self._recorded = [_path(keyword) for keyword in ours.keywords]
        self.theirs = {entry.kind: self._theirs(entry) for entry in self.lists}
        self.derived = [
            entry for entry in here if ours.claims(entry.kind.name, _contents(self.theirs[entry.kind]))
        ]
        self.kept = [entry for entry in here if entry not in self.derived] or here
        self.only_copies = not here or all(
            entry in self.derived for entry in self.lists if entry.kind.made or entry in here
        )

    def taken_out(self) -> list[str]:
        """Which of catalogd's keywords a person took out."""
        recorded = self._ours.keywords
        gone = taken_out(recorded, [entry.standing(recorded) for entry in self._here])
        return [keyword for keyword in recorded if keyword in gone]

    def union(self) -> list[KeywordPath]:
        """Somebody's keywords, each once: paths, then flat ones that are no level of any.

        Those that catalogd copied stay, also where they are a level of a path that it added itself.
        """
        found = {entry.kind: entry.paths(self.theirs[entry.kind]) for entry in self.kept}
        paths = [path for kind, paths in found.items() if kind.separator for path in paths]
        flat = found.get(_FLAT, [])
        copied = {_key(path) for entry in self.derived for path in entry.paths(self.theirs[entry.kind])}
        again = [path for path in flat if _key(path) in copied]
        return _each_once([*paths, *again, *_uncovered(flat, [*paths, *self._recorded])])

    def completed(
        self, entry: _List, said: Sequence[KeywordPath], known: Iterable[KeywordPath]
    ) -> list[Value]:
        """Somebody's list with what it lacks of what was `said` by the lists before it.

        More programs write a list the nearer it is to the first, so a keyword that is in a later one
        alone was taken out of the others: it does not come back. `known`: keywords whose levels are
        no flat keywords.
        """
        items, here = list(self.theirs[entry.kind]), set(entry.keys)
        flat = [path for path in said if len(path) == 1]
        covered = [path for path in [*known, *self._recorded] if len(path) > 1]
        paths = [path for path in said if len(path) > 1]
        for path in [*paths, *_uncovered(flat, covered)]:
            if entry.key(path) not in here:
                here.add(entry.key(path))
                items.append(text(entry.kind.spell(path)))
        return items

    def _theirs(self, entry: _List) -> list[Value]:
        """A flat keyword is somebody's also when it is the last level of somebody's path."""
        recorded = {entry.key(path) for path in self._recorded}
        if not entry.kind.separator:
            recorded -= self._leaves_of_others()
        pairs = zip(entry.items or (), entry.keys, strict=True)
        return [item for item, name in pairs if name not in recorded]

    def _leaves_of_others(self) -> set[str]:
        recorded = set(map(_key, self._recorded))
        paths = (
            path for entry in self.lists if entry.kind.separator for path in entry.paths(entry.items or ())
        )
        return {_key(path[-1:]) for path in paths if _key(path) not in recorded}


def _contents(items: Iterable[Value]) -> list[str]:
    """What of a list is digested: somebody's keywords as they stand there, in an order of their own."""
    return sorted(item.text for item in items)


def _of_photo(facts: Facts, ours: Ours) -> list[KeywordPath]:
    """The keywords in the photo itself."""
    recorded = {_key(_path(keyword)[-1:]) for keyword in ours.keywords}
    paths = [_path(path) for path in facts.keyword_paths]
    flat = _uncovered([(word.replace(SEPARATOR, " "),) for word in facts.keywords], paths)
    return [path for path in _each_once([*paths, *flat]) if _key(path[-1:]) not in recorded]


# ── what a list is to hold ────────────────────────────────────────────────────────────────────


def _made(kind: _Kind, union: Iterable[KeywordPath]) -> list[Value]:
    """The items of a list that catalogd makes."""
    return [text(spelled) for spelled in dict.fromkeys(kind.spell(path) for path in union)]


def _added(entry: _List, items: Iterable[Value], chosen: Iterable[KeywordPath]) -> Iterator[Value]:
    """catalogd's keywords, those left out that stand among the items already."""
    here = {entry.key(entry.kind.path(item.text)) for item in items}
    for path in chosen:
        if entry.key(path) not in here:
            here.add(entry.key(path))
            yield text(entry.kind.spell(path))


def _change(entry: _List, items: list[Value]) -> dict[str, Value | None]:
    """The list with these items; a list that has them in another order is left as it is."""
    name = key(entry.kind.name)
    if sorted(item.text for item in items) == sorted(item.text for item in entry.items or ()):
        return {}
    if not items:
        return {name: None}
    return {name: relisted(entry.value, items, entry.kind.array)}


# ── keywords ──────────────────────────────────────────────────────────────────────────────────


def _key(path: KeywordPath) -> str:
    return SEPARATOR.join(path).casefold()


def _path(written: str) -> KeywordPath:
    return tuple(written.split(SEPARATOR))


def _levels(paths: Iterable[KeywordPath]) -> set[str]:
    return {level.casefold() for path in paths for level in path}


def _uncovered(flat: Iterable[KeywordPath], paths: Iterable[KeywordPath]) -> list[KeywordPath]:
    """Flat keywords that are no level of any path: programs write all levels of a path as flat ones too."""
    levels = _levels(paths)
    return [path for path in flat if path[-1].casefold() not in levels]


def _each_once(paths: Iterable[KeywordPath]) -> list[KeywordPath]:
    known: dict[str, KeywordPath] = {}
    for path in paths:
        known.setdefault(_key(path), path)
    return list(known.values())[:MAX_WORDS]
