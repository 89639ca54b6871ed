"""What catalogd's plugin wrote into Lightroom and nobody changed since: no word of a person's.

The plugin notes it with each photo in a field of its own, as JSON by Lightroom's names of values
(lrplugin/catalogd.lrdevplugin/Changes.lua). Taking it in would make catalogd's guesses the user's word.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from catalogd.records import Place, UserFacts
from catalogd.sync.lightroom.labels import standard_label

PLUGIN = "org.catalogd.lightroom"  # LrToolkitIdentifier in Info.lua
FIELD = "written"
LONGEST_NOTE = 1 << 20  # characters
SAME_DEG = 2e-5  # two metres: Lightroom keeps a position as degrees and minutes
_VALUES = {"rating": "rating", "pick": "pickStatus", "title": "title", "caption": "caption"}
_PLACE = {"city": "city", "region": "stateProvince", "country": "country", "country_code": "isoCountryCode"}


class Written(NamedTuple):
    """The plugin's note of one photo."""

    values: dict[str, Any]

    def keyword_paths(self) -> frozenset[str]:
        """Of the keywords that it put there, "a|b", whatever their case."""
        lists = [self.values.get(name) for name in ("keywords", "people")]
        paths = [path for given in lists if isinstance(given, list) for path in given]
        return frozenset(path.casefold() for path in paths if isinstance(path, str))

    def shown(self) -> str | None:
        """Whom it named as shown, parted by commas."""
        names = self.values.get("personShown")
        return names if isinstance(names, str) else None

    def left_of(self, facts: UserFacts) -> UserFacts:
        """The facts without its own values."""
        if not self.values:
            return facts
        own = {field: None for field, key in _VALUES.items() if self._is_own(key, getattr(facts, field))}
        if facts.label is not None and self._is_own_label(facts.label):
            own["label"] = None
        if self._is_own_position(facts):
            own |= {"latitude": None, "longitude": None}
        return msgspec.structs.replace(facts, **own, place=self._left_of_place(facts.place))

    def _is_own(self, key: str, value: object) -> bool:
        return value is not None and self.values.get(key) == value

    def _is_own_label(self, label: str) -> bool:
        """A colour's name is Lightroom's, when the colour is ours."""
        colour = self.values.get("colorNameForLabel")
        is_colour = isinstance(colour, str) and standard_label(label) == standard_label(colour)
        return is_colour or self._is_own("label", label)

    def _is_own_position(self, facts: UserFacts) -> bool:
        position = self.values.get("gps")
        if not isinstance(position, dict) or facts.latitude is None or facts.longitude is None:
            return False
        north, east = position.get("latitude"), position.get("longitude")
        if not isinstance(north, int | float) or not isinstance(east, int | float):
            return False
        return abs(facts.latitude - north) + abs(facts.longitude - east) <= SAME_DEG

    def _left_of_place(self, place: Place | None) -> Place | None:
        if place is None:
            return None
        own = {field: "" for field, key in _PLACE.items() if self._is_own(key, getattr(place, field))}
        left = msgspec.structs.replace(place, **own)
        return left if left.city or left.region or left.country or left.nearest else None


def read_note(text: object) -> Written:
    """The note as it is stored. Never raises: what can't be read wrote nothing."""
    if not isinstance(text, str) or len(text) > LONGEST_NOTE:
        return NOTHING
    try:
        return Written(msgspec.json.decode(text, type=dict[str, Any]))
    except (msgspec.DecodeError, RecursionError):
        return NOTHING


NOTHING = Written({})
