"""Marks: what kind of picture a photo is, where the file says so.

Only what is written counts, never what the picture looks like: a mark is there or it is unknown.
docs/facts.md lists them with their sources.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from catalogd.metadata.xmp import Value
from catalogd.records import Facts

_DRONE = re.compile(r"(dji|parrot|autel( robotics)?|skydio|yuneec|hasselblad l[12]d-)\b", re.IGNORECASE)
_HANDHELD = re.compile(r"osmo|pocket|action", re.IGNORECASE)  # DJI makes cameras for the hand, too
_SCANNER = re.compile(
    r"scanner|scanjet|canoscan|coolscan|nikon ls-?\d|perfection|opticfilm|opticslim|plustek|reflecta"
    r"|pacific image|noritsu|fujifilm sp-?\d{3}|frontier|scansnap|imacon|flextight",
    re.IGNORECASE,
)
# Names that Android, macOS, Windows and GNOME give to screenshots, in the languages with most users.
_SCREENSHOT_NAME = re.compile(
    r"(?:screen[ _-]?shot|screen[ _-]?capture|screencap|bildschirm(?:foto|aufnahme|photo)"
    r"|capture d.{1,4}cran|captura de (?:pantalla|tela|ecr)|schermafbeelding|schermata|istantanea"
    r"|sk.rmbillede|sk.rmavbild|skjermbilde|zrzut ekranu|снимок экрана|スクリーンショット|截屏|截图|屏幕截图)"
    r"(?![^\W\d_])",
    re.IGNORECASE,
)
_SCREENSHOT_PROGRAM = re.compile(
    r"(gnome-screenshot|spectacle|flameshot|ksnapshot|xfce4-screenshooter|scrot|shutter|greenshot|sharex)\b",
    re.IGNORECASE,
)
_DRONE_NAMESPACES = ("http://www.dji.com/drone-dji/", "http://www.parrot.com/drone-parrot/")
_GAIN_MAP_VERSIONS = ("hdrgm:Version", "HDRGainMap:HDRGainMapVersion")
_FILMS = ("GCamera:MotionPhoto", "GCamera:MicroVideo")
_SPHERE_SIZES = (
    "FullPanoWidthPixels",
    "FullPanoHeightPixels",
    "CroppedAreaImageWidthPixels",
    "CroppedAreaImageHeightPixels",
)
_SPHERE_TOLERANCE = 0.01  # of a sphere's 2:1, for sizes rounded to whole blocks


def of_xmp(root: Value) -> tuple[str, ...]:
    """The marks that a packet's properties tell of."""
    if not root.fields:
        return ()
    semantics = _semantics(root)
    projection = root.get("GPano:ProjectionType").text.lower()
    special = " ".join(root.get("GCamera:SpecialTypeID").all()).upper()
    return _those(
        drone=any(name.startswith(_DRONE_NAMESPACES) for name in root.fields),
        panorama=bool(projection) or root.get("GPano:UsePanoramaViewer").text.lower() == "true",
        **{"360": projection == "equirectangular" and _is_sphere(root)},
        hdr="GainMap" in semantics or any(root.get(name).text for name in _GAIN_MAP_VERSIONS),
        motion_photo="MotionPhoto" in semantics or any(root.get(name).text == "1" for name in _FILMS),
        portrait=bool(root.get("GDepth:Format").text) or "PORTRAIT" in special,
        screenshot=root.get("exif:UserComment").one() == "Screenshot",
        scan=root.get("exif:FileSource").text in ("1", "2"),  # film scanner, print scanner
    )


def of_photo(facts: Facts, name: str, text: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """The marks that other facts, the file's name and its comments tell of."""
    camera = facts.camera or ""
    programs = [value for keyword, value in text if keyword == "Software"]
    return _those(
        drone=_DRONE.match(camera) is not None and _HANDHELD.search(camera) is None,
        scan=_SCANNER.search(camera) is not None,
        screenshot=_is_screenshot(facts, name, programs),
        live_photo=facts.live_photo_id is not None,
        burst=facts.burst_id is not None,
    )


def _those(**found: bool) -> tuple[str, ...]:
    return tuple(mark for mark, is_so in found.items() if is_so)


def _is_screenshot(facts: Facts, name: str, programs: Iterable[str]) -> bool:
    """A photo of a camera is none, whatever its name: people name albums and files by all words."""
    if facts.camera or facts.exposure_s:
        return False
    return _SCREENSHOT_NAME.match(name) is not None or any(map(_SCREENSHOT_PROGRAM.match, programs))


def _semantics(root: Value) -> set[str]:
    """What the parts of a file with several pictures are (Container:Directory, Item:Semantic)."""
    parts = root.get("Container:Directory").items
    return {part.get("Container:Item", "Item:Semantic").text for part in parts}


def _is_sphere(root: Value) -> bool:
    """Whether an equirectangular picture covers all directions, by the sizes of Google's Photo Sphere."""
    sizes = [root.get(f"GPano:{name}").text for name in _SPHERE_SIZES]
    if not all(size.isdecimal() and len(size) < 10 and int(size) for size in sizes):
        return False
    full_width, full_height, width, height = map(int, sizes)
    whole = (full_width, full_height) == (width, height)
    return whole and abs(full_width / full_height / 2 - 1) <= _SPHERE_TOLERANCE
