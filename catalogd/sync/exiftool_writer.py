"""exiftool as a writer of sidecars: one process that copies a packet with other values for some properties.

::

    values ──one argument a line, entities for what is no plain character──▶ exiftool -config … -stay_open
    source ──────────────────────────── -o ────────────────────────────────▶ target, which must not exist

exiftool keeps the properties of most packets, but not all that a file can hold: `keeps` says of which
it is worth asking, and whoever asked has to compare what came out (`sync.sidecar` does). Nothing that a
person or a model wrote can become an option: values travel as entities, and `Exiftool.ask` takes no
argument, path or other, with a control character in it.
"""

from __future__ import annotations

import html
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from catalogd.errors import ExiftoolError, SidecarRefusedError
from catalogd.metadata.exiftool import Exiftool, Program
from catalogd.metadata.xmp import ALT, LANGUAGE, STRUCT, Value
from catalogd.sync.packet import Packet, usual_name, walk

DEADLINE_S = 10.0  # a packet of 5 MiB takes 2; then our own writer does it
MAX_ARGUMENTS_BYTES = 48 << 10  # a pipe holds 64 KiB: one that is full would be waited for without a deadline

_CONFIG = Path(__file__).with_name("exiftool.cfg")
# Names of exiftool's groups and tags that are not the usual prefix and the property's own name.
_GROUPS = {
    **{prefix: prefix for prefix in ("dc", "xmp", "tiff", "photoshop", "lr", "digiKam", "mediapro")},
    **{prefix: prefix for prefix in ("mwg-rs", "MP", "catalogd")},
    "Iptc4xmpCore": "iptcCore",
    "Iptc4xmpExt": "iptcExt",
}
_TAGS = {"mwg-rs:Regions": "RegionInfo", "MP:RegionInfo": "RegionInfoMP"}

_RENAMED = "http://ns.microsoft.com/photo/1.0/ "  # exiftool spells this namespace without its last character

# Blanks around a value, and what would end the line.
_NOT_PLAIN = re.compile("^ +|(?<! ) +$|[\x00-\x1f\x7f]")
_STRUCTURAL = re.compile(r"[|,{}\[\]]")


class ExiftoolWriter:
    """A process of exiftool to write with, for one thread; a context manager that ends it."""

    def __init__(self, program: Program) -> None:
        self._exiftool = Exiftool(program, DEADLINE_S, _CONFIG, complaints=True)

    def __enter__(self) -> ExiftoolWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exiftool.close()

    def write(self, source: bytes, target: bytes, changes: Mapping[str, Value | None]) -> None:
        """Make `target`, a packet like that in `source` but for `changes`; None takes a property out.

        Both are absolute paths. Raises SidecarRefusedError where exiftool can't or won't, ExiftoolError
        where it died or is late; what is at `target` then is to be thrown away.
        """
        if b"%" in target:
            raise SidecarRefusedError("exiftool takes a % in the path of what it makes for a code of its own")
        assignments = [word for change in changes.items() for word in _assignments(*change)]
        answer = self.run([b"-E", b"-o", target, *assignments, source])
        if not os.path.exists(target):
            raise SidecarRefusedError(f"exiftool: {answer.strip()}")

    def run(self, arguments: Sequence[bytes]) -> str:
        """What exiftool says to some arguments, errors and warnings with it; raises as `write` does."""
        if sum(map(len, arguments)) > MAX_ARGUMENTS_BYTES:
            raise SidecarRefusedError("it is too much for exiftool's arguments")
        try:
            return self._exiftool.ask(arguments).decode("utf-8", "replace")
        except ValueError as error:
            self._exiftool.close()
            raise SidecarRefusedError(f"exiftool: {error}") from None
        except OSError as error:
            self._exiftool.close()
            raise ExiftoolError(str(error)) from None


def keeps(packet: Packet) -> bool:
    """Whether exiftool may keep a packet whole: it drops empty values and remarks, and writes UTF-8 alone."""
    if (
        packet.encoding != "utf-8"
        or packet.remarks
        or any(it.startswith(_RENAMED) for it in packet.properties)
    ):
        return False
    return not any(_is_empty(it) for value in packet.properties.values() for it in walk(value))


def _is_empty(value: Value) -> bool:
    return not (value.text or value.items or value.fields)


def _assignments(key: str, value: Value | None) -> Iterator[bytes]:
    """The arguments that give a property its value: one for each text of a list or an alternative."""
    tag = _tag(key)
    if value is None:
        yield f"-{tag}=".encode()
        return
    if not all(map(_fits, walk(value))):
        raise SidecarRefusedError(f"exiftool can't write a value of {usual_name(key)}")
    for item in value.items if _is_list(value) else [value]:
        content = _nested(item) if item.kind else item.text
        language = f"-{item.language}" if value.kind == ALT else ""
        yield f"-{tag}{language}={_encode(content)}".encode()


def _is_list(value: Value) -> bool:
    """Whether it has an argument for each item; structures of a list stand in one."""
    return bool(value.items) and not any(item.kind for item in value.items)


def _fits(value: Value) -> bool:
    """Whether exiftool can write a value; its carriage return is one that XML reads as a line feed."""
    return not (value.qualifiers.keys() - {LANGUAGE} or _is_empty(value) or "\r" in value.text)


def _tag(key: str) -> str:
    """exiftool's name of a property: "XMP-lr:HierarchicalSubject"."""
    name = usual_name(key)
    prefix, _, local = name.partition(":")
    if prefix not in _GROUPS:
        raise SidecarRefusedError(f"exiftool is not told of {name}")
    return f"XMP-{_GROUPS[prefix]}:{_TAGS.get(name) or _capital(local)}"


def _capital(word: str) -> str:
    return word[:1].upper() + word[1:]


def _nested(value: Value) -> str:
    """A value in exiftool's notation of structures: "|" escapes, and entities are read once more."""
    if value.kind == STRUCT:
        fields = (f"{_capital(key.rpartition(' ')[2])}={_nested(it)}" for key, it in value.fields.items())
        return f"{{{','.join(fields)}}}"
    if value.kind:
        return f"[{','.join(map(_nested, value.items))}]"
    return _STRUCTURAL.sub(r"|\g<0>", _encode(value.text))


def _encode(content: str) -> str:
    """A value for `-E`: all that is markup there or no plain character as an entity."""
    return _NOT_PLAIN.sub(lambda run: "".join(f"&#x{ord(it):x};" for it in run[0]), html.escape(content))
