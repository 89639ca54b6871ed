"""What catalogd wants a sidecar to say, and which of its properties must change for it.

::

    Record ─▶ keywords (policy), faces, place, scores, … ─┐
    Packet ─▶ what stands there, and what of it is ours ──┴─▶ {property: new value, None: take it out}

Somebody else's work counts before catalogd's, always: a property that somebody wrote, or changed, or
took out after catalogd wrote it, is never touched again (ownership.py says how that is known). Asked
again with the same record, nothing is left to change.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

import msgspec

from catalogd.metadata.values import clean_text
from catalogd.metadata.xmp import Value
from catalogd.records import Box, Facts, Record, Region, UserFacts, captioned_by
from catalogd.sync.keyword_lists import has_keywords, keyword_changes, keyword_removal, was_rewritten
from catalogd.sync.ownership import Ours, is_recorded, properties_of
from catalogd.sync.packet import Packet, bag, key, merged_language, same, text
from catalogd.sync.policy import Policy, keywords_of
from catalogd.sync.regions import (
    has_regions,
    overlap,
    people_changes,
    people_removal,
    region_changes,
    region_removal,
)

FIELDS = ("keywords", "caption", "title", "rating", "faces", "place", "scores", "ocr")
# Stars and labels are proposals of catalogd until somebody asks for them to be written, by name.
DEFAULT_FIELDS = tuple(field for field in FIELDS if field != "rating")

Changes = dict[str, Value | None]
SAME_BOX_IOU = 0.9  # a name belongs to this very box, which went through numbers of less precision
SPOT_KM = 2.0  # a place farther away is not where the photo was taken: it is no Iptc4xmpCore:Location

# Properties that have one text. Those of one field are one statement. Languages: a text in each.
_TEXTS = {
    "caption": ("dc:description", "Iptc4xmpCore:AltTextAccessibility"),
    "title": ("dc:title",),
    "rating": ("xmp:Rating", "xmp:Label"),
    "place": (
        "photoshop:Country",
        "photoshop:State",
        "photoshop:City",
        "Iptc4xmpCore:Location",
        "Iptc4xmpCore:CountryCode",
    ),
}
_IN_LANGUAGES = frozenset(("dc:description", "dc:title", "Iptc4xmpCore:AltTextAccessibility"))
# Of these, what a program that holds its own set of properties writes anew, or leaves out.
_REWRITTEN = frozenset(("dc:description", "dc:title", "xmp:Rating", "xmp:Label"))

# Properties of catalogd's own namespace.
_QUALITY = {
    "sharpness": "catalogd:QualitySharpness",
    "sharpness_mean": "catalogd:QualitySharpnessMean",
    "brightness": "catalogd:QualityBrightness",
    "contrast": "catalogd:QualityContrast",
    "clipped_low": "catalogd:QualityClippedLow",
    "clipped_high": "catalogd:QualityClippedHigh",
    "noise": "catalogd:QualityNoise",
    "colourfulness": "catalogd:QualityColourfulness",
    "brisque": "catalogd:QualityBrisque",
}
_MODELS, _OCR = "catalogd:Models", "catalogd:OcrText"
_OWN = {"scores": (*_QUALITY.values(), _MODELS), "ocr": (_OCR,)}


class Own(msgspec.Struct, frozen=True, omit_defaults=True):
    """What catalogd was told of a photo by its owner; `DEFAULT_OWN` where nothing was."""

    people: tuple[str, ...] | None = None  # who is shown; None: whom the file names
    faces: tuple[Region, ...] = ()  # named ones, on the upright frame
    rating: int | None = None  # -1 rejected, 0 to 5
    label: str | None = None


DEFAULT_OWN = Own()


class _State(NamedTuple):
    """A sidecar while it is worked out: what it says now, what is to change, and what is then recorded."""

    properties: Mapping[str, Value]
    changes: Changes
    ours: Ours
    own: Own


Step = Callable[[_State, Record, Policy], _State]


def changes_for(
    record: Record,
    packet: Packet | None,
    policy: Policy,
    fields: Collection[str] = FIELDS,
    *,
    only_missing: bool = False,
    own: Own = DEFAULT_OWN,
) -> Changes:
    """The complete new value of each property that must differ from the packet; empty when none must.

    `packet`: None when there is no sidecar yet. `fields`: of FIELDS; the others are left alone.
    `only_missing`: fields that say something already, whoever wrote it, are left alone too.
    """
    properties = properties_of(packet)
    state = _State(properties, {}, Ours.of(properties), own)
    for field in FIELDS:
        if field in fields and not (only_missing and _says_something(field, properties, record.said)):
            state = _STEPS[field](state, record, policy)
    return _recorded(state)


def removal_of_ours(packet: Packet) -> Changes:
    """What takes out of a packet all that catalogd wrote and nobody has changed since, and its records."""
    properties = packet.properties
    ours = Ours.of(properties)
    names = (name for names in _TEXTS.values() for name in names)
    return {
        **keyword_removal(properties, ours),
        **region_removal(properties, ours),
        **people_removal(properties, ours),
        **{
            key(name): _text_value(name, properties[key(name)], None)
            for name in names
            if _is_ours(name, properties, ours)
        },
        **{name: None for name in properties if name.startswith(key("catalogd:"))},
    }


# ── what catalogd itself knows of a photo ─────────────────────────────────────────────────────


def own_caption(record: Record) -> str | None:
    """The caption that a model wrote, as text that XMP can hold; None without one."""
    output = captioned_by(record)
    return None if output is None else clean_text(output.caption or "")


def own_title(record: Record) -> str | None:
    """A title of catalogd's own. None: no model of a profile makes one."""
    return None


def own_rating(record: Record, own: Own) -> tuple[int | None, str | None]:
    """Stars and label that a person had catalogd propose; models give none."""
    return own.rating, own.label


def own_faces(record: Record, own: Own) -> list[Region]:
    """The faces that a model found, on the upright frame, with the names that people gave them."""
    found = (face.box for output in record.outputs.values() for face in output.faces or ())
    return [Region(box, _name_of(box, own.faces)) for box in found]


def _name_of(box: Box, named: Sequence[Region]) -> str:
    """The name of the region that is this face; "" where there is none."""
    best = max(named, key=lambda region: overlap(region.box, box), default=None)
    return best.name if best is not None and overlap(best.box, box) >= SAME_BOX_IOU else ""


def _texts_of(field: str, record: Record, own: Own) -> dict[str, str | None]:
    """What catalogd has to say in the properties of a field."""
    if field == "caption":
        return dict.fromkeys(_TEXTS[field], own_caption(record))
    if field == "title":
        return {"dc:title": own_title(record)}
    if field == "rating":
        stars, label = own_rating(record, own)
        wanted = {"xmp:Rating": None if stars is None else str(stars), "xmp:Label": label}
        return wanted | dict.fromkeys(_set_elsewhere(record))
    place = record.said.place
    if place is None:
        return dict.fromkeys(_TEXTS[field])
    spot = place.nearest if place.nearest != place.city and place.distance_km <= SPOT_KM else ""
    names = (place.country, place.region, place.city, spot, place.country_code)
    return dict(zip(_TEXTS[field], names, strict=True))


def _set_elsewhere(record: Record) -> list[str]:
    """Of stars and label, what a person set in another program: nothing of catalogd's may replace it."""
    user = record.user or UserFacts()
    stars = ["xmp:Rating"] if user.rating is not None or user.pick == -1 else []
    return [*stars, "xmp:Label"] if user.label else stars


# ── a step for each field ─────────────────────────────────────────────────────────────────────


def _keywords(state: _State, record: Record, policy: Policy) -> _State:
    wanted = keywords_of(record, policy, state.own.people)
    return _moved(state, *keyword_changes(state.properties, wanted, record.facts, state.ours))


def _faces(state: _State, record: Record, policy: Policy) -> _State:
    regions, ours = region_changes(state.properties, own_faces(record, state.own), record.facts, state.ours)
    people, ours = people_changes(state.properties, regions, record.facts, ours, state.own.people or ())
    return _moved(state, regions | people, ours)


def _scores(state: _State, record: Record, policy: Policy) -> _State:
    quality = next((output.quality for output in record.outputs.values() if output.quality), None)
    numbers = {name: getattr(quality, field, None) for field, name in _QUALITY.items()}
    said: Changes = {
        key(name): None if number is None else text(f"{number:.4g}") for name, number in numbers.items()
    }
    models = sorted(output.fingerprint for output in record.outputs.values() if output.error is None)
    said[key(_MODELS)] = bag(models) if models else None
    return _moved(state, said, state.ours)


def _ocr(state: _State, record: Record, policy: Policy) -> _State:
    lines = [line.text for output in record.outputs.values() for line in output.text_lines or ()]
    return _moved(state, {key(_OCR): text("\n".join(lines)) if lines else None}, state.ours)


def _text_step(field: str, together: bool = False) -> Step:
    """The step of a field of texts. What a person wrote into the photo itself is not to be hidden by it."""

    def step(state: _State, record: Record, policy: Policy) -> _State:
        hides = field in ("caption", "title") and _is_said_in_photo(field, record.said)
        return _say(
            state, dict.fromkeys(_TEXTS[field]) if hides else _texts_of(field, record, state.own), together
        )

    return step


_STEPS: dict[str, Step] = {
    "keywords": _keywords,
    "caption": _text_step("caption"),
    "title": _text_step("title"),
    "rating": _text_step("rating"),
    "faces": _faces,
    "place": _text_step("place", together=True),
    "scores": _scores,
    "ocr": _ocr,
}


# ── texts ─────────────────────────────────────────────────────────────────────────────────────


def _say(state: _State, wanted: Mapping[str, str | None], together: bool = False) -> _State:
    """Texts as they are to be, where they are not somebody else's.

    Those that belong `together`, as the names of a place do, are written beside none of somebody's.
    """
    mine = {name for name in wanted if _may_write(name, state.properties, state.ours)}
    if together and mine != set(wanted):
        return state
    changes, ours = {}, state.ours
    for name in sorted(mine):
        content = wanted[name] or None
        if content is not None or name in ours.fields:
            value = changes[key(name)] = _text_value(name, state.properties.get(key(name)), content)
            ours = ours.claiming(name, (value.one(),) if value is not None and content is not None else None)
    return _moved(state, changes, ours)


def _may_write(name: str, properties: Mapping[str, Value], ours: Ours) -> bool:
    """Whether a text is catalogd's, or nobody's: one that was taken out since is somebody's decision."""
    if key(name) in properties:
        return _is_ours(name, properties, ours)
    return name not in ours.fields or (name in _REWRITTEN and was_rewritten(properties, ours))


def _is_ours(name: str, properties: Mapping[str, Value], ours: Ours) -> bool:
    return key(name) in properties and ours.claims(name, (properties[key(name)].one(),))


def _text_value(name: str, old: Value | None, content: str | None) -> Value | None:
    """The property with this text, or without any; texts in named languages stay."""
    if name not in _IN_LANGUAGES:
        return None if content is None else text(content)
    value = merged_language(old, content or "")
    if content is None:
        del value.items[0]
    return value if value.items else None


# ── in sum ────────────────────────────────────────────────────────────────────────────────────


def _says_something(field: str, properties: Mapping[str, Value], facts: Facts) -> bool:
    """Whether a field has a value: in the sidecar, or of what a person says, in the photo."""
    lists = {"keywords": has_keywords, "faces": has_regions}
    names = (*_TEXTS.get(field, ()), *_OWN.get(field, ()))
    in_sidecar = (
        lists[field](properties) if field in lists else any(key(name) in properties for name in names)
    )
    return in_sidecar or _is_said_in_photo(field, facts)


def _is_said_in_photo(field: str, facts: Facts) -> bool:
    said = {
        "keywords": facts.keywords,
        "faces": facts.regions,
        "caption": facts.caption,
        "title": facts.title,
        "rating": facts.rating,
    }
    return said.get(field) not in (None, ())


def _moved(state: _State, changes: Changes, ours: Ours) -> _State:
    return state._replace(changes=state.changes | changes, ours=ours)


def _recorded(state: _State) -> Changes:
    """The changes with the record of what is then catalogd's; without those that change nothing."""
    changes = state.changes | state.ours.as_properties()
    real = {name: value for name, value in changes.items() if not same(state.properties.get(name), value)}
    return real if set(real) != {key("catalogd:SchemaVersion")} or is_recorded(state.properties) else {}
