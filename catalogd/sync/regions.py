"""Faces in a sidecar: as regions of the Metadata Working Group and of Microsoft, and as people by name.

Both are written for the picture as it is stored, before EXIF orientation (Guidelines for Handling
Image Metadata 2.0, 5.9); boxes of the catalog are on the upright frame. Regions that somebody else
made, and everything else in their structures, stay as they are; a face that one of them covers
already is not marked again.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence

from catalogd.metadata.values import clean_word, number
from catalogd.metadata.xmp import STRUCT, Value
from catalogd.metadata.xmp_facts import region_entry, upright_box
from catalogd.records import Box, Facts, Region
from catalogd.sync.ownership import Ours, merged, taken_out, texts
from catalogd.sync.packet import key, relisted, struct, text, walk

# Two boxes are of one face when they have that share of their union in common: programs frame faces
# from chin to brow or with hair, and neighbours in a crowd overlap by less.
SAME_FACE_IOU = 0.3
DIGITS = 5  # of coordinates, as `region_entry` has: a sixteenth of a pixel of 6,000
_MWG, _MICROSOFT, _PEOPLE = "mwg-rs:Regions", "MP:RegionInfo", "Iptc4xmpExt:PersonInImage"
_LISTS = {_MWG: "mwg-rs:RegionList", _MICROSOFT: "MPRI:Regions"}  # the field with the regions
_APPLIED = "mwg-rs:AppliedToDimensions"
_INVERSE = {6: 8, 8: 6}  # the orientation that undoes another; the others undo themselves


@dataclasses.dataclass(frozen=True)
class _Mark:
    """One region of a list, on the stored picture: what it says, and its value as it stands there."""

    box: Box | None  # None: not where it would be on any picture
    name: str
    kind: str
    value: Value | None = None

    @functools.cached_property
    def entry(self) -> str:
        """How it is recorded and compared."""
        if self.box is None:
            return "\n".join(part.text for part in walk(self.value)) if self.value else ""
        return region_entry(Region(self.box, self.name, self.kind))


def region_changes(
    properties: Mapping[str, Value], wanted: Sequence[Region], facts: Facts, ours: Ours
) -> tuple[dict[str, Value | None], Ours]:
    """What must change so that `wanted`, on the upright frame, are catalogd's regions, and its record.

    `facts` are the photo's: its size, its orientation, and the regions in the photo itself, which a
    first list must have too, for programs look no further once there is one.
    """
    size_px = stored_size(facts)
    if not (wanted or ours.regions) or not _may_write(properties, size_px):
        return {}, ours
    sidecar = _Regions(properties, ours)
    rejected = merged(ours.rejected_regions, sidecar.taken_out())
    others = sidecar.others()
    if others is None:
        others = [_stored_mark(region, facts.orientation) for region in facts.regions]
    faces = (_stored_mark(region, facts.orientation) for region in wanted)
    new = list(_new_marks(faces, others, rejected))
    changes: dict[str, Value | None] = {}
    after = dataclasses.replace(ours, regions=tuple(mark.entry for mark in new), rejected_regions=rejected)
    for name, marks in sidecar.lists.items():
        if marks is None and not new:
            continue
        made = marks is None or name in sidecar.derived
        first = _copied(name, others, marks or ()) if made else sidecar.theirs[name]
        claimed = made and ours.may_claim(name, ours.regions)
        after = after.claiming(name, _contents(first) if claimed else None)
        if _contents([*first, *new]) != _contents(marks or ()):
            old = properties.get(key(name))
            changes[key(name)] = _written(name, old, [*first, *new], made, size_px)
    return changes, after


def region_removal(properties: Mapping[str, Value], ours: Ours) -> dict[str, Value | None]:
    """What takes out catalogd's regions, and the lists that it made."""
    if not _are_understood(properties):
        return {}
    sidecar = _Regions(properties, ours)
    changes: dict[str, Value | None] = {}
    for name, marks in sidecar.lists.items():
        made = name in sidecar.derived
        left = [] if made else sidecar.theirs[name]
        if len(left) != len(marks or ()):
            changes[key(name)] = _written(name, properties.get(key(name)), left, made)
    return changes


def people_changes(
    properties: Mapping[str, Value],
    regions: Mapping[str, Value | None],
    facts: Facts,
    ours: Ours,
    shown: Iterable[str] = (),
) -> tuple[dict[str, Value | None], Ours]:
    """What must change so that PersonInImage has those whose regions have a name and `shown`, and its record.

    `regions`: the changes to the regions. A first list has the people in the photo itself too.
    """
    marked = {**properties, **regions}
    marks = [*(_mwg_marks(marked) or ()), *(_microsoft_marks(marked) or ())]
    in_regions = (mark.name for mark in marks if mark.kind == "Face" and mark.name)
    named = dict.fromkeys([*in_regions, *shown])
    old = properties.get(key(_PEOPLE))
    if old is not None and old.kind == STRUCT:  # no list of names: nothing is known of it
        return {}, ours
    here = texts(old)
    gone = taken_out(ours.people, [set(here) & set(ours.people)])
    rejected = merged(ours.rejected_people, (name for name in ours.people if name in gone))
    theirs = _of_others(old, ours)
    after = dataclasses.replace(ours, rejected_people=rejected)
    if old is None and named and not ours.people:
        theirs = [text(name) for name in facts.people if name not in named]
        after = after.claiming(_PEOPLE, sorted(name.text for name in theirs))
    known = {name.text for name in theirs}
    new = [text(name) for name in named if name not in known and name not in rejected]
    after = dataclasses.replace(after, people=tuple(name.text for name in new))
    return _people_change(old, [*theirs, *new]), after


def people_removal(properties: Mapping[str, Value], ours: Ours) -> dict[str, Value | None]:
    """What takes out the names that catalogd wrote, and the list if it made that."""
    old = properties.get(key(_PEOPLE))
    if old is not None and old.kind == STRUCT:
        return {}
    theirs = _of_others(old, ours)
    made = ours.claims(_PEOPLE, sorted(name.text for name in theirs))
    return _people_change(old, [] if made else theirs)


def _of_others(people: Value | None, ours: Ours) -> list[Value]:
    """The items that are not catalogd's, as they stand there."""
    items = () if people is None else people.items if people.kind else (people,)
    return [item for item in items if item.text not in ours.people]


def _people_change(old: Value | None, items: Sequence[Value]) -> dict[str, Value | None]:
    if [item.text for item in items] == texts(old):
        return {}
    return {key(_PEOPLE): relisted(old, items) if items else None}


def has_regions(properties: Mapping[str, Value]) -> bool:
    return bool(_mwg_marks(properties) or _microsoft_marks(properties))


def stored_size(facts: Facts) -> tuple[int, int]:
    """Width and height of the picture as it is stored, px."""
    size_px = facts.width, facts.height
    return size_px[::-1] if facts.orientation in (5, 6, 7, 8) else size_px


def stored_box(upright: Box, orientation: int) -> Box | None:
    """A box of the upright frame on the stored picture: `upright_box` undone."""
    return upright_box(upright, _INVERSE.get(orientation, orientation))


# ── whose is what ─────────────────────────────────────────────────────────────────────────────


class _Regions:
    """The lists of a sidecar. `theirs`: the regions of each that are not catalogd's.

    `derived` are those that catalogd made, in which nobody has changed since what was copied into them.
    """

    def __init__(self, properties: Mapping[str, Value], ours: Ours) -> None:
        self._ours = ours
        self.lists = {_MWG: _mwg_marks(properties), _MICROSOFT: _microsoft_marks(properties)}
        self.theirs = {
            name: [mark for mark in marks or () if mark.entry not in ours.regions]
            for name, marks in self.lists.items()
        }
        self.derived = {
            name
            for name, marks in self.lists.items()
            if marks is not None and ours.claims(name, _contents(self.theirs[name]))
        }

    def taken_out(self) -> list[str]:
        """Which of catalogd's regions a person took out, or changed."""
        recorded = set(self._ours.regions)
        lists = [
            {mark.entry for mark in marks} & recorded for marks in self.lists.values() if marks is not None
        ]
        gone = taken_out(recorded, lists)
        return [entry for entry in self._ours.regions if entry in gone]

    def others(self) -> list[_Mark] | None:
        """Somebody's regions; None when all there is was copied from the photo."""
        here = [name for name, marks in self.lists.items() if marks is not None]
        if self.derived == set(self.lists) or not here:
            return None
        kept = [name for name in here if name not in self.derived] or here
        return [mark for name in kept for mark in self.theirs[name]]


# ── reading ───────────────────────────────────────────────────────────────────────────────────


def _mwg_marks(properties: Mapping[str, Value | None]) -> list[_Mark] | None:
    """The regions of the Metadata Working Group; None when the property is absent."""
    regions = properties.get(key(_MWG))
    if regions is None:
        return None
    applied = regions.get(_APPLIED)
    return [_mwg_mark(item, applied) for item in regions.get(_LISTS[_MWG]).items]


def _mwg_mark(item: Value, applied: Value) -> _Mark:
    area = item.get("mwg-rs:Area")
    x, y, width, height = (number(area.get(f"stArea:{name}").text) for name in "xywh")
    box = None
    if x is not None and y is not None and width is not None and height is not None:
        across = down = 1.0
        if area.get("stArea:unit").text == "pixel":
            across, down = (number(applied.get(f"stDim:{name}").text) or 1.0 for name in "wh")
        box = ((x - width / 2) / across, (y - height / 2) / down, width / across, height / down)
    kind = item.get("mwg-rs:Type").text.strip().capitalize() or "Face"
    return _Mark(box, _name(item.get("mwg-rs:Name")), kind, item)


def _microsoft_marks(properties: Mapping[str, Value | None]) -> list[_Mark] | None:
    info = properties.get(key(_MICROSOFT))
    if info is None:
        return None
    return [_microsoft_mark(item) for item in info.get(_LISTS[_MICROSOFT]).items]


def _microsoft_mark(item: Value) -> _Mark:
    numbers = [number(part) for part in item.get("MPReg:Rectangle").text.split(",", 4)]
    known = [part for part in numbers if part is not None]
    box = (known[0], known[1], known[2], known[3]) if len(known) == len(numbers) == 4 else None
    return _Mark(box, _name(item.get("MPReg:PersonDisplayName")), "Face", item)


def _name(value: Value) -> str:
    return clean_word(value.one()) or ""


def _may_write(properties: Mapping[str, Value], size_px: tuple[int, int]) -> bool:
    return _are_understood(properties) and not _is_of_another_size(properties, size_px)


def _are_understood(properties: Mapping[str, Value]) -> bool:
    """Whether what stands there is a structure with an array of regions, or without any."""
    there = ((properties[key(name)], name) for name in _LISTS if key(name) in properties)
    return all(
        value.kind == STRUCT
        and (key(_LISTS[name]) not in value.fields or value.get(_LISTS[name]).kind not in ("", STRUCT))
        for value, name in there
    )


def _is_of_another_size(properties: Mapping[str, Value], size_px: tuple[int, int]) -> bool:
    """Whether the regions were made for the picture turned on its side: nothing then fits beside them."""
    if key(_MWG) not in properties:
        return False
    applied = properties[key(_MWG)].get(_APPLIED)
    width, height = (number(applied.get(f"stDim:{name}").text) or 0.0 for name in "wh")
    return (width - height) * (size_px[0] - size_px[1]) < 0


def _contents(marks: Iterable[_Mark]) -> list[str]:
    """What of a list is digested and compared: its regions, in an order of their own."""
    return sorted(mark.entry for mark in marks)


# ── writing ───────────────────────────────────────────────────────────────────────────────────


def _stored_mark(region: Region, orientation: int) -> _Mark:
    return _Mark(_rounded(stored_box(region.box, orientation)), region.name, region.kind)


def _rounded(box: Box | None) -> Box | None:
    """Centre, width and height are written with DIGITS, so that they read back as the same numbers."""
    if box is None:
        return None
    x, y, width, height = box
    across, down = round(width, DIGITS), round(height, DIGITS)
    left, top = round(x + width / 2, DIGITS) - across / 2, round(y + height / 2, DIGITS) - down / 2
    return round(left, DIGITS + 1), round(top, DIGITS + 1), across, down


def _new_marks(wanted: Iterable[_Mark], others: Sequence[_Mark], rejected: Iterable[str]) -> Iterator[_Mark]:
    """Of the faces those that nobody has marked or taken out."""
    known = [mark.box for mark in others if mark.kind == "Face" and mark.box is not None]
    known += [_recorded_box(entry) for entry in rejected]
    for mark in wanted:
        if mark.box is not None and not any(overlap(mark.box, box) >= SAME_FACE_IOU for box in known):
            yield mark


def _recorded_box(entry: str) -> Box:
    parts = [number(part) or 0.0 for part in entry.split(" ", 4)[:4]]
    x, y, width, height = [*parts, 0.0, 0.0, 0.0, 0.0][:4]
    return x - width / 2, y - height / 2, width, height


def overlap(one: Box, other: Box) -> float:
    """The share of their union that two boxes have in common."""
    across = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    down = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    if across <= 0 or down <= 0:
        return 0.0
    return across * down / (one[2] * one[3] + other[2] * other[3] - across * down)


def _copied(name: str, others: Iterable[_Mark], here: Iterable[_Mark]) -> list[_Mark]:
    """Somebody's regions for another list, where some may stand already. Microsoft's has faces alone."""
    known = {mark.entry: mark for mark in here}
    copies = (
        dataclasses.replace(mark, box=_rounded(mark.box), value=None)
        for mark in others
        if mark.box is not None and (name == _MWG or mark.kind == "Face")
    )
    return [known.get(copy.entry, copy) for copy in copies]


def _written(
    name: str, old: Value | None, marks: Sequence[_Mark], made: bool, size_px: tuple[int, int] = (0, 0)
) -> Value | None:
    """The property with these regions, and what else is in it; None when catalogd `made` it, for nothing."""
    fields = dict(old.fields) if old else {}
    if not marks and made and not fields.keys() - {key(_LISTS[name]), key(_APPLIED)}:
        return None
    if name == _MWG and marks:
        fields = {key(_APPLIED): _dimensions(size_px), **fields}
    make = _mwg_item if name == _MWG else _microsoft_item
    items = [mark.value or make(mark) for mark in marks]
    value = struct({**fields, key(_LISTS[name]): relisted(fields.get(key(_LISTS[name])), items)})
    value.qualifiers = old.qualifiers if old else {}
    return value


def _dimensions(size_px: tuple[int, int]) -> Value:
    return struct({"stDim:w": str(size_px[0]), "stDim:h": str(size_px[1]), "stDim:unit": "pixel"})


def _mwg_item(mark: _Mark) -> Value:
    assert mark.box is not None
    x, y, width, height = mark.box
    centre = {"x": x + width / 2, "y": y + height / 2, "w": width, "h": height}
    area = {f"stArea:{name}": _spell(part, DIGITS) for name, part in centre.items()}
    named = {"mwg-rs:Name": mark.name} if mark.name else {}
    return struct(
        {"mwg-rs:Area": struct({**area, "stArea:unit": "normalized"}), **named, "mwg-rs:Type": mark.kind}
    )


def _microsoft_item(mark: _Mark) -> Value:
    assert mark.box is not None
    named = {"MPReg:PersonDisplayName": mark.name} if mark.name else {}
    return struct({"MPReg:Rectangle": ", ".join(_spell(part, DIGITS + 1) for part in mark.box), **named})


def _spell(part: float, digits: int) -> str:
    return f"{part:.{digits}f}".rstrip("0").rstrip(".")
