"""What other programs see in a sidecar: exiftool, exiv2, Adobe's XMP toolkit (exempi) and darktable.

Each reader is given photos with their sidecars and says, for each photo, what it `Seen`. None of them
shares code with catalogd, but for exempi's answer, a packet again, that our reader reads.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import sqlite3
import subprocess
from collections.abc import Sequence
from pathlib import Path

from catalogd.metadata.xmp import parse

SIDECAR = ".xmp"
# darktable 4.2: the stars in `images.flags`, numbers of labels, keys of `meta_data`.
_STARS = 0x7
_LABELS = ("Red", "Yellow", "Green", "Blue", "Purple")
_TITLE, _DESCRIPTION = 2, 3


@dataclasses.dataclass
class Seen:
    """None or empty where a program does not say, or has no notion of it."""

    rating: int | None = None
    label: str | None = None
    title: str | None = None
    caption: str | None = None
    keywords: set[str] = dataclasses.field(default_factory=set)
    paths: set[str] = dataclasses.field(default_factory=set)  # levels parted by "|"
    people: set[str] = dataclasses.field(default_factory=set)
    latitude: float | None = None
    longitude: float | None = None


def _run(*command: str | os.PathLike[str], **options: object) -> str:
    """What a command prints; it must succeed."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, f"{command[0]}: {done.stdout}{done.stderr}"
    return str(done.stdout)


def sidecar_of(photo: Path) -> Path:
    """`IMG.EXT.xmp`; of a photo whose name begins with "adobe" `IMG.xmp`."""
    stem = photo.stem if photo.name.startswith("adobe") else photo.name
    return photo.with_name(stem + SIDECAR)


def by_exiftool(photos: Sequence[Path], folder: Path) -> dict[str, Seen]:
    rows = json.loads(_run("exiftool", "-json", "-n", "-struct", "-XMP:all", *map(sidecar_of, photos)))
    seen = {}
    for photo, row in zip(photos, rows, strict=True):
        seen[photo.name] = Seen(
            rating=row.get("Rating"),
            label=row.get("Label"),
            title=row.get("Title"),
            caption=row.get("Description"),
            keywords=set(map(str, _list(row.get("Subject")))),
            paths=set(map(str, _list(row.get("HierarchicalSubject")))),
            people={region["Name"] for region in row.get("RegionInfo", {}).get("RegionList", ())},
            latitude=row.get("GPSLatitude"),
            longitude=row.get("GPSLongitude"),
        )
    return seen


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else [] if value is None else [value]


def by_exiv2(photos: Sequence[Path], folder: Path) -> dict[str, Seen]:
    return {photo.name: _seen_by_exiv2(_run("exiv2", "-q", "-PXkt", sidecar_of(photo))) for photo in photos}


def _seen_by_exiv2(printed: str) -> Seen:
    words = re.split(r"^(Xmp\.\S+) +", printed, flags=re.MULTILINE)
    tags = {name: value.removesuffix("\n") for name, value in zip(words[1::2], words[2::2], strict=True)}
    return Seen(
        rating=int(tags["Xmp.xmp.Rating"]),
        label=tags["Xmp.xmp.Label"],
        title=_default_language(tags["Xmp.dc.title"]),
        caption=_default_language(tags["Xmp.dc.description"]),
        keywords=set(tags["Xmp.dc.subject"].split(", ")),
        paths=set(tags["Xmp.lr.hierarchicalSubject"].split(", ")),
        people={value for name, value in tags.items() if re.fullmatch(r"Xmp\.mwg-rs\..*mwg-rs:Name", name)},
        latitude=_degrees(tags["Xmp.exif.GPSLatitude"]),
        longitude=_degrees(tags["Xmp.exif.GPSLongitude"]),
    )


def _default_language(printed: str) -> str:
    """exiv2 prints `lang="x-default" text`."""
    return re.sub(r'^lang="x-default" ', "", printed)


def _degrees(printed: str) -> float:
    """XMP's "48,8.25N" in signed degrees."""
    degrees, minutes, side = re.fullmatch(r"(\d+),([\d.]+)([NSEW])", printed).groups()  # type: ignore[union-attr]
    return (float(degrees) + float(minutes) / 60) * (1 if side in "NE" else -1)


def accepted_by_exempi(sidecar: Path) -> bytes:
    """The packet as Adobe's toolkit writes it again; empty when it refuses it.

    One file a process: of several it gets those wrong that are shorter than the one before.
    """
    command = ("exempi", "-X", "-x", sidecar)
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=60, check=True)
    return done.stdout.partition(b"\n")[2]


def by_exempi(photos: Sequence[Path], folder: Path) -> dict[str, Seen]:
    return {photo.name: _seen_by_exempi(accepted_by_exempi(sidecar_of(photo))) for photo in photos}


def _seen_by_exempi(packet: bytes) -> Seen:
    root = parse(packet)
    regions = root.get("mwg-rs:Regions", "mwg-rs:RegionList").items
    return Seen(
        rating=int(root.get("xmp:Rating").text),
        label=root.get("xmp:Label").text,
        title=root.get("dc:title").one(),
        caption=root.get("dc:description").one(),
        keywords=set(root.get("dc:subject").all()),
        paths=set(root.get("lr:hierarchicalSubject").all()),
        people={region.get("mwg-rs:Name").text for region in regions},
        latitude=_degrees(root.get("exif:GPSLatitude").text),
        longitude=_degrees(root.get("exif:GPSLongitude").text),
    )


def darktable_command(photos: Sequence[Path], folder: Path, *options: str) -> list[str]:
    """darktable without a display: it imports the photos, and develops them into `folder`.

    Its own files lie in `folder`, too.
    """
    settings = folder / "darktable"
    (folder / "developed").mkdir(parents=True, exist_ok=True)
    own = ("--configdir", settings, "--cachedir", settings / "cache", "--library", settings / "library.db")
    imports = [word for photo in photos for word in ("--import", photo)]
    command = ("darktable-cli", *imports, folder / "developed", "--width", "32", "--core", *own, *options)
    return [os.fspath(word) for word in command]


def by_darktable(photos: Sequence[Path], folder: Path) -> dict[str, Seen]:
    """What stands in darktable's library after an import. It knows no regions."""
    command = darktable_command(photos, folder, "--conf", "write_sidecar_files=never")
    _run(*command, env={**os.environ, "HOME": str(folder)})
    library = sqlite3.connect(folder / "darktable" / "library.db")
    library.execute("ATTACH ? AS data", (str(folder / "darktable" / "data.db"),))
    seen = {}
    for photo, name, flags, latitude, longitude in library.execute(
        "SELECT id, filename, flags, latitude, longitude FROM images"
    ).fetchall():
        texts = dict(library.execute("SELECT key, value FROM meta_data WHERE id = ?", (photo,)))
        labels = library.execute("SELECT color FROM color_labels WHERE imgid = ?", (photo,)).fetchall()
        tags = library.execute(
            "SELECT name FROM data.tags JOIN tagged_images ON tagid = tags.id WHERE imgid = ?", (photo,)
        )
        paths = {tag for (tag,) in tags if not tag.startswith("darktable|")}
        seen[name] = Seen(
            rating=flags & _STARS,
            label=_LABELS[labels[0][0]] if labels else None,
            title=texts.get(_TITLE),
            caption=texts.get(_DESCRIPTION),
            keywords={level for path in paths for level in path.split("|")},
            paths=paths,
            latitude=latitude,
            longitude=longitude,
        )
    library.close()
    return seen


_EDIT = """
local darktable = require "darktable"
local image = darktable.database.import("{photo}")
image.rating = {rating}
image.title = "{title}"
darktable.tags.attach(darktable.tags.create("{tag}"), image)
"""


def edit_by_darktable(photo: Path, folder: Path, *, rating: int, title: str, tag: str) -> None:
    """darktable imports a photo with its sidecar, changes it, and writes the sidecar anew.

    Its command line needs a photo to develop too: one in `folder` that nobody looks at.
    """
    script = folder / "edit.lua"
    script.write_text(_EDIT.format(photo=photo, rating=rating, title=title, tag=tag))
    other = folder / "other.jpg"
    other.write_bytes(photo.read_bytes() if photo.suffix == ".jpg" else b"")
    command = darktable_command(
        [other], folder, "--conf", "write_sidecar_files=on import", "--luacmd", f"dofile('{script}')"
    )
    library = command.index("--library") + 1
    command[library] = ":memory:"  # it knows the photo by its sidecar alone
    _run(*command, env={**os.environ, "HOME": str(folder)})
