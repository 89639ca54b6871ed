"""XMP packets: RDF/XML as ISO 16684-1 narrows it, read into a tree of values.

::

    bytes ─▶ text (UTF-8, 16, 32) ─▶ expat ─▶ _Reader: nodes and properties in turn ─▶ Value tree

Promises never to raise and to take time linear in the packet, whatever the bytes are: a packet with
a document type (and so with entities) is refused whole, depth, names and number of values are bounded,
and of a damaged packet what stands before the damage is kept. Nothing outside the packet is ever opened.
"""

from __future__ import annotations

import codecs
import contextlib
import re
from collections.abc import Iterator
from xml.parsers import expat

MAX_PACKET_BYTES = 64 << 20  # an extended packet holds a depth map as text: up to about 20 MiB
MAX_VALUES = 50_000  # properties, items and fields; a photo edited for years has about 10,000
MAX_DEPTH = 64  # elements in elements; real packets reach about 15
MAX_NAMESPACE_BYTES = 256  # expat writes it out for every attribute in it; real ones have up to about 60
# expat reads a piece to its end, whatever was refused at its start; each is as long as all before it, so
# that one value across many pieces is not gone through for each.
FIRST_PIECE_BYTES = 64 << 10

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns# "
XML = "http://www.w3.org/XML/1998/namespace "
LANGUAGE = XML + "lang"

STRUCT, BAG, SEQ, ALT = "struct", "Bag", "Seq", "Alt"

# Usual prefix and namespace. A prefix that stands twice has had two namespaces.
NAMESPACES = (
    ("xml", XML.strip()),
    ("rdf", RDF.strip()),
    ("dc", "http://purl.org/dc/elements/1.1/"),
    ("xmp", "http://ns.adobe.com/xap/1.0/"),
    ("xmpMM", "http://ns.adobe.com/xap/1.0/mm/"),
    ("xmpRights", "http://ns.adobe.com/xap/1.0/rights/"),
    ("xmpNote", "http://ns.adobe.com/xmp/note/"),
    ("xmpidq", "http://ns.adobe.com/xmp/Identifier/qual/1.0/"),
    ("stEvt", "http://ns.adobe.com/xap/1.0/sType/ResourceEvent#"),
    ("stRef", "http://ns.adobe.com/xap/1.0/sType/ResourceRef#"),
    ("stDim", "http://ns.adobe.com/xap/1.0/sType/Dimensions#"),
    ("stArea", "http://ns.adobe.com/xmp/sType/Area#"),
    ("tiff", "http://ns.adobe.com/tiff/1.0/"),
    ("exif", "http://ns.adobe.com/exif/1.0/"),
    ("exifEX", "http://cipa.jp/exif/1.0/"),
    ("aux", "http://ns.adobe.com/exif/1.0/aux/"),
    ("photoshop", "http://ns.adobe.com/photoshop/1.0/"),
    ("crs", "http://ns.adobe.com/camera-raw-settings/1.0/"),
    ("lr", "http://ns.adobe.com/lightroom/1.0/"),
    ("hdrgm", "http://ns.adobe.com/hdr-gain-map/1.0/"),
    ("Iptc4xmpCore", "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/"),
    ("Iptc4xmpExt", "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"),
    ("plus", "http://ns.useplus.org/ldf/xmp/1.0/"),
    ("mwg-rs", "http://www.metadataworkinggroup.com/schemas/regions/"),
    ("mwg-kw", "http://www.metadataworkinggroup.com/schemas/keywords/"),
    ("MicrosoftPhoto", "http://ns.microsoft.com/photo/1.0/"),
    ("MicrosoftPhoto", "http://ns.microsoft.com/photo/1.0"),
    ("MP", "http://ns.microsoft.com/photo/1.2/"),
    ("MPRI", "http://ns.microsoft.com/photo/1.2/t/RegionInfo#"),
    ("MPReg", "http://ns.microsoft.com/photo/1.2/t/Region#"),
    ("digiKam", "http://www.digikam.org/ns/1.0/"),
    ("darktable", "http://darktable.sf.net/"),
    ("catalogd", "https://catalogd.org/ns/1.0/"),
    ("acdsee", "http://ns.acdsee.com/iptc/1.0/"),
    ("mediapro", "http://ns.iview-multimedia.com/mediapro/1.0/"),
    ("photomech", "http://ns.camerabits.com/photomechanic/1.0/"),
    ("apple-fi", "http://ns.apple.com/faceinfo/1.0/"),
    ("HDRGainMap", "http://ns.apple.com/HDRGainMap/1.0/"),
    ("GPano", "http://ns.google.com/photos/1.0/panorama/"),
    ("GCamera", "http://ns.google.com/photos/1.0/camera/"),
    ("GDepth", "http://ns.google.com/photos/1.0/depthmap/"),
    ("Container", "http://ns.google.com/photos/1.0/container/"),
    ("Item", "http://ns.google.com/photos/1.0/container/item/"),
    ("drone-dji", "http://www.dji.com/drone-dji/1.0/"),
    ("drone-parrot", "http://www.parrot.com/drone-parrot/1.0/"),
    ("Camera", "http://pix4d.com/camera/1.0/"),
    ("Camera", "http://pix4d.com/camera/1.0"),
)
_PREFIXES = {namespace: prefix for prefix, namespace in NAMESPACES}
# How a photo was developed and edited: most of what editors write, and no fact comes from it.
EDITING = tuple(f"{name} " for prefix, name in NAMESPACES if prefix in ("crs", "xmpMM", "darktable"))
_KEYS: dict[str, tuple[str, ...]] = {}  # "dc:title" as the code spells it: its keys in `Value.fields`

_ARRAYS = {RDF + kind: kind for kind in (BAG, SEQ, ALT)}
_RDF_ROOT, _RDF_VALUE, _RDF_RESOURCE, _RDF_PARSE_TYPE = (
    RDF + name for name in ("RDF", "value", "resource", "parseType")
)
# Attributes that belong to the notation and are no fields of what they stand at.
_NOTATION = {LANGUAGE, XML + "space", XML + "base", _RDF_RESOURCE, _RDF_PARSE_TYPE} | {
    RDF + name for name in ("about", "ID", "nodeID", "datatype", "type", "bagID", "aboutEach")
}
_NO_XML = bytes(code for code in range(32) if code not in b"\t\n\r")  # XML 1.0, 2.2
_DECLARATION = re.compile(rb"<\?xml\s[^<>]*>")
_NAMESPACE = re.compile(rb"xmlns[^\"'<>]*(?:[\"']([^\"'<]*))?")
_ENCODINGS = {
    (4, 0): "utf-32-le",
    (4, 3): "utf-32-be",
    (2, 0): "utf-16-le",
    (2, 1): "utf-16-be",
}


class Value:
    """One value of a packet, with all that is written about it.

    `kind` is "" (simple: `text`), "Bag", "Seq" or "Alt" (`items`), or "struct" (`fields`). Fields
    and qualifiers are keyed by namespace and local name with a blank between them, so that no two
    names are ever taken for one another; `xml:lang` is a qualifier.
    """

    __slots__ = ("fields", "items", "kind", "qualifiers", "text")

    def __init__(self, text: str = "") -> None:
        self.kind = ""
        self.text = text
        self.items: list[Value] = []
        self.fields: dict[str, Value] = {}
        self.qualifiers: dict[str, Value] = {}

    def get(self, *path: str) -> Value:
        """The field at a path of usual names ("mwg-rs:Regions", "mwg-rs:RegionList"), or an empty value."""
        value = self
        for name in path:
            for key in _KEYS.get(name) or _keys(name):
                if key in value.fields:
                    value = value.fields[key]
                    break
            else:
                return _NOTHING
        return value

    def one(self) -> str:
        """The text to show: of an array, its `x-default` or else first item's."""
        if not self.items:
            return self.text
        chosen = self.items[0]
        if self.kind == ALT:
            chosen = next((item for item in self.items if item.language == "x-default"), chosen)
        return chosen.text

    def all(self) -> list[str]:
        """The texts of an array's items; a simple value is an array of itself."""
        return [item.text for item in self.items] if self.kind else [self.text]

    @property
    def language(self) -> str:
        return self.qualifiers[LANGUAGE].text if LANGUAGE in self.qualifiers else ""


_NOTHING = Value()


def parse(packet: bytes, extended: bytes = b"", without: tuple[str, ...] = EDITING) -> Value:
    """The properties of a packet, and of the one that extends it, as the fields of one value.

    The first of two properties of one name counts. Properties whose key begins as one of `without`
    are passed over. Never raises.
    """
    root = Value()
    root.kind = STRUCT
    reader = _Reader(root, without)
    for document in (packet, extended):
        reader.read(_prepare(document))
    return root


def properties(packet: bytes, extended: bytes = b"") -> list[tuple[str, str]]:
    """Every value of a packet as (path, text), in its order: ("dc:subject[1]", "dog").

    Paths have the usual prefixes, or the namespace where there is none: `struct/field`, `array[1]`,
    `alternative[x-default]`, `value?qualifier`. Never raises.
    """
    root = parse(packet, extended, without=())
    return [row for name, value in root.fields.items() for row in _rows(_spell(name), value)]


def _rows(path: str, value: Value) -> Iterator[tuple[str, str]]:
    if not value.kind:
        yield path, value.text
    for name, field in value.fields.items():
        yield from _rows(f"{path}/{_spell(name)}", field)
    for position, item in enumerate(value.items, 1):
        yield from _rows(f"{path}[{item.language or position}]", item)
    for name, qualifier in value.qualifiers.items():
        if name != LANGUAGE:
            yield from _rows(f"{path}?{_spell(name)}", qualifier)


def _spell(name: str) -> str:
    """A field's name with its usual prefix, or with the namespace in braces."""
    namespace, _, local = name.rpartition(" ")
    prefix = _PREFIXES.get(namespace)
    return f"{prefix}:{local}" if prefix else f"{{{namespace}}}{local}"


def _keys(name: str) -> tuple[str, ...]:
    """The keys of `fields` for a usual name; asked for with the names in the code only."""
    prefix, _, local = name.partition(":")
    keys = tuple(f"{namespace} {local}" for known, namespace in NAMESPACES if known == prefix)
    assert keys, f"no namespace is known for {name}"
    _KEYS[name] = keys
    return keys


def _prepare(packet: bytes) -> bytes:
    """The packet in UTF-8, from its first "<", without what XML may not hold; empty when it is too large."""
    if len(packet) > MAX_PACKET_BYTES or b"<" not in packet:
        return b""
    document = _decode(packet).encode().translate(None, _NO_XML)
    if b"<?xml " in document:  # often where it may not be, behind the packet's wrapper
        document = _DECLARATION.sub(b"", document)
    for namespace in _NAMESPACE.finditer(document):
        if len(namespace[1] or b"") > MAX_NAMESPACE_BYTES:
            return document[: namespace.start()]
    return document


def _decode(packet: bytes) -> str:
    """The text from the first "<", whose bytes tell the encoding, with or without a byte order mark.

    Bytes that are no UTF-8 are taken for Latin-1, each alone: programs copy old comments as they are.
    """
    start = packet.index(b"<")
    after = packet[start + 1 : start + 4]
    width = 4 if after == bytes(3) else 2 if after[:1] == b"\0" else 1
    if width == 1:
        return packet[start:].decode("utf-8", _AS_LATIN_1)
    encoding = _ENCODINGS.get((width, start % width), "utf-16-le")
    return packet[start - start % width :].decode(encoding, "replace")


def _as_latin_1(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return error.object[error.start : error.end].decode("latin-1"), error.end


_AS_LATIN_1 = "catalogd.latin-1"
codecs.register_error(_AS_LATIN_1, _as_latin_1)


class _LimitError(Exception):
    """The packet has a document type, or passes a limit."""


class _Reader:
    """Turns expat's events into values below `root`.

    RDF/XML alternates between nodes and properties. `_open` keeps, for each open element, what its
    children are and the value that they belong to::

        rdf:RDF            children are nodes       of the root
        rdf:Description    children are properties  of the value it describes
        dc:subject         children are nodes       that describe its value
        rdf:Bag            children are items       of the value
        rdf:li             children are nodes       that describe the item
        crs:Look           children are nothing     when the namespace is passed over
    """

    def __init__(self, root: Value, without: tuple[str, ...]) -> None:
        self._root = root
        self._without = without
        self._left = MAX_VALUES

    def read(self, document: bytes) -> None:
        """Add the properties of one XML document, up to where it is damaged or passes a limit."""
        parser = expat.ParserCreate("utf-8", " ")
        parser.buffer_text = True
        parser.ordered_attributes = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.StartDoctypeDeclHandler = self._refuse
        self._open: list[tuple[str, Value]] = [("outside", self._root)]
        self._text: list[str] = []
        with contextlib.suppress(expat.ExpatError, _LimitError):
            for piece in _pieces(document):
                parser.Parse(piece, False)
            parser.Parse(b"", True)

    def _refuse(self, *doctype: object) -> None:
        """Only a document type brings entities, and no packet needs one; before it nothing was read."""
        raise _LimitError

    def _start(self, name: str, attributes: list[str]) -> None:
        self._left -= 1 + len(attributes) // 2
        if self._left < 0 or len(self._open) > MAX_DEPTH:
            raise _LimitError
        self._text.clear()
        children, value = self._open[-1]
        if children == "nothing" or (children == "properties" and name.startswith(self._without)):
            opened = "nothing", self._root
        elif children == "properties":
            opened = self._property(_add_field(value, name), attributes)
        elif children == "items":
            item = Value()
            value.items.append(item)
            opened = self._property(item, attributes)
        elif children == "nodes":
            opened = self._node(value, name, attributes)
        else:
            opened = ("nodes" if name == _RDF_ROOT else "outside"), value
        self._open.append(opened)

    def _end(self, name: str) -> None:
        children, value = self._open.pop()
        if children == "nodes" and not value.kind and not value.text:
            value.text = "".join(self._text)
        self._text.clear()
        if _RDF_VALUE in value.fields and value is not self._root:
            _qualify(value)

    def _characters(self, text: str) -> None:
        self._text.append(text)

    def _node(self, value: Value, name: str, attributes: list[str]) -> tuple[str, Value]:
        """An element that describes `value`: an array, or a struct (any other name is its type)."""
        if name in _ARRAYS:
            value.kind = _ARRAYS[name]
            return "items", value
        value.kind = STRUCT
        for key, text in zip(attributes[::2], attributes[1::2], strict=True):
            if not key.startswith(self._without) and key not in _NOTATION:
                _add_field(value, key).text = text
        return "properties", value

    def _property(self, value: Value, attributes: list[str]) -> tuple[str, Value]:
        """An element whose value is `value`: its attributes may say all of it already."""
        for key, text in zip(attributes[::2], attributes[1::2], strict=True):
            if key not in _NOTATION:
                value.kind = STRUCT
                _add_field(value, key).text = text
            elif key == LANGUAGE:
                value.qualifiers[key] = Value(text)
            elif key == _RDF_RESOURCE:
                value.text = text
            elif key == _RDF_PARSE_TYPE and text == "Resource":
                value.kind = STRUCT
                return "properties", value
        return "nodes", value


def _pieces(document: bytes) -> Iterator[bytes]:
    start, size = 0, FIRST_PIECE_BYTES
    while start < len(document):
        yield document[start : start + size]
        start, size = start + size, start + size


def _add_field(struct: Value, name: str) -> Value:
    """A new field; one that nobody sees when the name is taken or has no namespace."""
    field = Value()
    if " " in name:
        struct.fields.setdefault(name, field)
    return field


def _qualify(value: Value) -> None:
    """A struct with an `rdf:value` is that value; its other fields are qualifiers (ISO 16684-1, 7.8)."""
    inner = value.fields.pop(_RDF_VALUE)
    value.qualifiers.update(value.fields)
    value.kind, value.text, value.items, value.fields = inner.kind, inner.text, inner.items, inner.fields
