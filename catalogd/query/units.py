"""Numbers as people write them after a key: `f/2.8`, `1/200s`, `24MP`, `5MB`, `85mm`, `10km`.

A number says how exact it is meant by its last digit: `focal:85` finds a lens that stands at 85.2 mm, and
`f:2.8` one that says 2.80 or 2.79. A range or a comparison is taken as it stands, ends included.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping

_NUMBER = re.compile(
    r"(?P<number>[-+]?(?:\d+(?:\.(?P<decimals>\d*))?|\.(?P<only>\d+))(?:[eE](?P<exponent>[-+]?\d{1,3}))?)"
    r"(?:/(?P<divisor>\d+(?:\.\d+)?))?\s*(?P<unit>[^\W\d]*|%)"
)


@dataclasses.dataclass(frozen=True)
class Unit:
    """What a key counts in."""

    takes: str  # for a message: "an f-number such as 2.8 or f/2.8"
    names: Mapping[str, float] = dataclasses.field(default_factory=dict)  # lower case → factor
    least: float = -math.inf
    most: float = math.inf
    whole: bool = False  # counted, not measured: a number is meant exactly
    slack: float = math.inf  # the most by which a number alone may differ, where half a last digit is more
    share: float = math.inf  # the same as a share of the number
    prefix: str = ""  # what may stand before a number

    def read(self, text: str) -> tuple[float, float]:
        """The number, and by how much a photo's own may differ. Raises ValueError when it is none."""
        match = _NUMBER.fullmatch(text.strip().casefold().removeprefix(self.prefix))
        if match is None or (match["unit"] and match["unit"] not in self.names):
            raise ValueError(text)
        factor = self.names.get(match["unit"], 1.0)
        divisor = float(match["divisor"] or 1)
        if not divisor:
            raise ValueError(text)
        value = float(match["number"]) * factor / divisor
        if self.whole and factor != 1:  # 1.1 MB are 1100000.0000000001 bytes
            value = float(round(value))
        if not self.least <= value <= self.most or (self.whole and not value.is_integer()):
            raise ValueError(text)
        return value, self._slack(match, value, factor / divisor)

    def _slack(self, match: re.Match[str], value: float, factor: float) -> float:
        if self.whole and factor == 1:
            return 0.0
        decimals = len(match["decimals"] or match["only"] or "") - int(match["exponent"] or 0)
        half_digit = 0.5 * 10.0**-decimals * factor
        return min(half_digit, self.slack, self.share * abs(value))


_KILO = {"b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12, "k": 1e3, "m": 1e6, "g": 1e9}
_KIBI = {"kib": 2.0**10, "mib": 2.0**20, "gib": 2.0**30, "tib": 2.0**40}
SCORE = Unit("a number from 0 to 100, such as 60", least=0, most=100)
TASTE = Unit("a number from 1 to 10, such as >=6", least=1, most=10)

ISO = Unit("a number such as 400, a range 100..800 or >=1600", least=0, whole=True)
COUNT = Unit("a number such as 2, 2.. or >=3", least=0, whole=True)
STARS = Unit("stars from 0 to 5, or -1 for rejected: 4, >=4 or 3..5", least=-1, most=5, whole=True)
# Lenses are marked in tenths, and a shutter's 1/60 is anything from 1/58 to 1/64; a third of a stop is 26 %.
APERTURE = Unit(
    "an f-number such as 2.8, f/2.8, <2.8 or 4..8", least=0, slack=0.05, prefix="f/", names={"f": 1}
)
EXPOSURE = Unit(
    "a time such as 1/200, 2s or <1/60",
    {"s": 1, "sec": 1, "ms": 1e-3, "min": 60},
    least=0,
    share=0.06,
)
FOCAL = Unit("a focal length such as 85, 85mm or 24..70", {"mm": 1, "cm": 10}, least=0)
PIXELS = Unit("pixels such as 4000 or >=1920px", {"px": 1}, least=0, whole=True)
MEGAPIXELS = Unit("megapixels such as 24MP or >=12", {"mp": 1, "mpx": 1, "megapixels": 1}, least=0)
BYTES = Unit("a size such as 500KB, >5MB or 1..20MB", {**_KILO, **_KIBI}, least=0, whole=True)
LEVELS = Unit("a number such as 2.5 or <5", least=0)
SHARE = Unit("a number from 0 to 1 or a percentage, such as 0.4 or <20%", {"%": 0.01}, least=0, most=1)
HEIGHT = Unit(
    "a height above the sea such as >1000m or 2km..3km",
    {"m": 1, "km": 1e3, "ft": 0.3048, "feet": 0.3048},
)
KILOMETRES = Unit(
    "a radius such as 500m, 10km or 5mi",
    {"km": 1, "m": 1e-3, "mi": 1.609344, "miles": 1.609344, "ft": 0.0003048},
    least=0,
    most=20_038,  # half the Earth's circumference: everything is nearer
)
DEGREES_NORTH = Unit("a latitude from -90 to 90", {"n": 1, "s": -1}, least=-90, most=90)
DEGREES_EAST = Unit("a longitude from -180 to 180", {"e": 1, "w": -1}, least=-180, most=180)
