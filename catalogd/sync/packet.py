"""XMP packets that are to be written: read strictly, compared property by property, edited in place.

::

    bytes ─▶ Packet.read ─▶ properties, each with its place in the text
                │                          │
                ▼                          ▼
        SidecarRefusedError        Packet.edited(changes) ─▶ bytes: the text but for the named properties

`metadata.xmp` reads what it can of any packet and never fails. Here it is the other way round: a
packet that is not understood to the last attribute is refused, for who rewrites what they do not
understand loses it. What is understood is ISO 16684-1 without general qualifiers: simple values,
URIs, structures, arrays and `xml:lang`.

`Packet.edited` is the writer that loses nothing: it cuts the named top-level properties out of the
text and puts new ones in, and every other byte stays: comments, processing instructions, empty
values, order, indentation, line ends, encoding and what stands around the packet.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple
from xml.parsers import expat

from catalogd.errors import SidecarRefusedError
from catalogd.metadata.sidecars import MAX_SIDECAR_BYTES
from catalogd.metadata.xmp import ALT, BAG, LANGUAGE, MAX_DEPTH, NAMESPACES, RDF, SEQ, STRUCT, XML, Value

MAX_VALUES = 400_000  # 5 MiB of painted masks hold 200,000 points; 100 MB of memory while it is compared

DEFAULT_LANGUAGE = "x-default"
RESOURCE = RDF + "resource"  # the qualifier by which a URI differs from a text

_EMPTY_PACKET = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="{x}">
 <rdf:RDF xmlns:rdf="{rdf}">
  <rdf:Description rdf:about=""{declarations}/>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>
"""

_WRAPPER = "adobe:ns:meta/"
_PREFIXES = {namespace: prefix for prefix, namespace in reversed(NAMESPACES)}
_ARRAYS = {RDF + kind: kind for kind in (BAG, SEQ, ALT)}
_RDF_ROOT, _DESCRIPTION, _ITEM, _VALUE, _ABOUT, _PARSE_TYPE = (
    RDF + name for name in ("RDF", "Description", "li", "value", "about", "parseType")
)

# XML 1.0, 2.2: what no document may hold, not even as a reference. Lone surrogates come from file names.
_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&apos;"}
_ESCAPES |= {blank: f"&#x{ord(blank):X};" for blank in "\t\n\r"}  # else a parser may turn them into blanks
_ESCAPED = re.compile("[&<>\"'\t\n\r]")

_BYTE_ORDER_MARKS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
# The declaration, which some programs write behind the packet's wrapper.
_DECLARATION = re.compile(rb"(?:[^<]++|<\?xpacket[^>]*+>)*+(<\?xml\s[^>]*+>)")
_ENCODING = re.compile(rb"""\sencoding\s*=\s*["']([^"']*)""")
_TAG = re.compile(rb"""<([^\s/>]+)(?:[^>"']++|"[^"]*+"|'[^']*+')*+>""")
_ATTRIBUTE = re.compile(rb"""(?<!\s)\s++([^\s=]++)\s*+=\s*+("[^"]*"|'[^']*')""")
_REMARK = re.compile(rb"<!\[CDATA\[.*?\]\]>|<!--.*?-->|<\?.*?\?>", re.DOTALL)
_LEAD = re.compile(rb"(?:\r\n|\n|\r)[ \t]*\Z")
_BLANKS = " \t\r\n"


# ── values ────────────────────────────────────────────────────────────────────────────────────


@functools.lru_cache(maxsize=1024)  # names stand in the code: there are few
def key(name: str) -> str:
    """The key of a property by its usual name: key("dc:subject"); a key is its own."""
    if " " in name:
        return name
    prefix, _, local = name.partition(":")
    return next(f"{namespace} {local}" for known, namespace in NAMESPACES if known == prefix)


def usual_name(key: str) -> str:
    """A property's name with its usual prefix, or with the namespace in braces."""
    namespace, _, local = key.rpartition(" ")
    prefix = _PREFIXES.get(namespace)
    return f"{prefix}:{local}" if prefix else f"{{{namespace}}}{local}"


def text(content: str) -> Value:
    """A simple value. Characters that XML cannot hold (NUL, most control characters) are left out."""
    return Value(_NO_XML.sub("", content))


def language(content: str) -> Value:
    """A text in no language in particular, where a property may have one in each."""
    item = text(content)
    item.qualifiers[LANGUAGE] = Value(DEFAULT_LANGUAGE)
    return _array(ALT, [item])


def merged_language(old: Value | None, content: str) -> Value:
    """`old` with another text for no language in particular; texts in named languages stay."""
    new = language(content)
    if old is not None and old.kind == ALT:
        new.items += [item for item in old.items if item.language not in ("", DEFAULT_LANGUAGE)]
    return new


def bag(items: Iterable[str | Value]) -> Value:
    return _array(BAG, items)


def seq(items: Iterable[str | Value]) -> Value:
    return _array(SEQ, items)


def relisted(old: Value | None, items: Iterable[str | Value], kind: str = BAG) -> Value:
    """An array of these items in place of `old`: of its kind and with its language, where it is an array."""
    value = _array(kind, items)
    if old is not None and old.kind:
        value.kind, value.qualifiers = old.kind, old.qualifiers
    return value


def struct(fields: Mapping[str, str | Value]) -> Value:
    """A structure; its fields go by key or by usual name ("stArea:x")."""
    value = Value()
    value.kind = STRUCT
    value.fields = {key(name): _value(field) for name, field in fields.items()}
    return value


def _array(kind: str, items: Iterable[str | Value]) -> Value:
    value = Value()
    value.kind = kind
    value.items = [_value(item) for item in items]
    return value


def _value(content: str | Value) -> Value:
    return text(content) if isinstance(content, str) else content


def same(one: Value | None, other: Value | None) -> bool:
    """Whether two values say the same, to the order of items; fields have none."""
    if one is None or other is None:
        return one is other
    return (
        one.kind == other.kind
        and one.text == other.text
        and len(one.items) == len(other.items)
        and all(map(same, one.items, other.items))
        and (one.fields == other.fields == {} or _same_fields(one.fields, other.fields))
        and (one.qualifiers == other.qualifiers == {} or _same_fields(one.qualifiers, other.qualifiers))
    )


def _same_fields(one: Mapping[str, Value], other: Mapping[str, Value]) -> bool:
    return one.keys() == other.keys() and all(same(value, other[name]) for name, value in one.items())


def walk(value: Value) -> Iterator[Value]:
    """A value and all values in it."""
    yield value
    for inner in (*value.items, *value.fields.values()):
        yield from walk(inner)


class Difference(NamedTuple):
    """One property that is not in both packets alike; None where it is absent."""

    key: str
    before: Value | None
    after: Value | None


def differences(before: Packet | None, after: Packet) -> list[Difference]:
    """The top-level properties by which two packets differ; `before` None has none."""
    old = before.properties if before else {}
    pairs = ((name, old.get(name), after.properties.get(name)) for name in old | after.properties)
    return [Difference(*pair) for pair in pairs if not same(pair[1], pair[2])]


# ── packets ───────────────────────────────────────────────────────────────────────────────────


class _Place(NamedTuple):
    """Where a top-level property stands: as an element, or as an attribute of its description."""

    holder: int  # index of the description
    start: int = -1  # offset of the element's "<"; -1 for an attribute
    end: int = -1  # behind its ">"


class _Holder:
    """A description, or the rdf:RDF itself: where properties can be put. Offsets into the document."""

    __slots__ = ("insert_at", "scope", "start")

    def __init__(self, start: int, insert_at: int, scope: dict[str, str]) -> None:
        self.start = start  # of its "<"
        self.insert_at = insert_at  # behind its last property, or behind its start tag
        self.scope = scope  # prefix → namespace


class Packet:
    """A packet that was understood whole.

    `properties`: key → value, the top-level ones of all descriptions. `remarks`: what else a person
    or a program left in the file: comments, processing instructions, foreign elements, text around
    the packet. `content` is what was read, `encoding` how.
    """

    def __init__(self, content: bytes, encoding: str, document: bytes, reader: _Reader) -> None:
        self.content = content
        self.encoding = encoding
        self.properties = reader.properties
        self.remarks = tuple(reader.remarks)
        self._document = document  # the text in UTF-8
        self._places = reader.places
        self._root = reader.root
        self._holders = reader.holders

    @classmethod
    def read(cls, content: bytes) -> Packet:
        """Raises SidecarRefusedError, with the reason, when anything in it is not understood."""
        if len(content) > MAX_SIDECAR_BYTES:
            raise SidecarRefusedError(f"it is larger than {MAX_SIDECAR_BYTES >> 20} MiB")
        written, encoding = _decode(content)
        document = written.encode()
        reader = _Reader(document)
        reader.read(_prepare(document, encoding))
        return cls(content, encoding, document, reader)

    def edited(self, changes: Mapping[str, Value | None]) -> bytes:
        """The packet with other values for the properties named; None takes a property out.

        Nothing else changes: all other bytes are those of `content`.
        """
        edits: list[_Edit] = []
        additions: dict[str, Value] = {}
        for name, value in changes.items():
            place = self._places.get(name)
            if place is not None:
                edits += self._replace(name, place, value)
            if value is not None and (place is None or (place.start < 0 and not _fits_attribute(value))):
                additions[name] = value
        edits += self._add(additions)
        return _apply(self._document, edits).decode().encode(self.encoding)

    def _replace(self, name: str, place: _Place, value: Value | None) -> Iterator[_Edit]:
        """What changes where the property stands. One that fits no attribute is taken out there."""
        holder = self._holders[place.holder]
        if place.start < 0:
            match = _find_attribute(self._document, holder, name)
            if value is None or not _fits_attribute(value):
                yield _Edit(match.start(), match.end(), b"")
            else:
                yield _Edit(match.start(2), match.end(2), b'"%s"' % _escape(value.text))
            return
        lead = _lead(self._document, place.start)
        remarks = _remarks(self._document[place.start : place.end])
        if value is not None:
            remarks.append(_element(name, value, lead, holder.scope))
        start = place.start if remarks else place.start - len(lead)
        yield _Edit(start, place.end, lead.join(remarks))

    def _add(self, additions: Mapping[str, Value]) -> Iterator[_Edit]:
        """New properties behind the last one of the first description."""
        if not additions:
            return
        if not self._holders:
            yield _add_description(self._document, self._root, additions)
            return
        holder = self._holders[0]
        lead = _inner_lead(self._document, holder)
        new = b"".join(lead + _element(*item, lead, holder.scope) for item in additions.items())
        yield _insert(self._document, holder, new)


def new_packet(changes: Mapping[str, Value | None]) -> bytes:
    """A packet of these properties alone."""
    values = {name: value for name, value in changes.items() if value is not None}
    scope = {"rdf": RDF.strip(), "x": _WRAPPER}
    for space in dict.fromkeys(space for item in values.items() for space in _namespaces(*item)):
        scope[_new_prefix(space, scope)] = space
    declarations = "".join(f'\n    xmlns:{prefix}="{space}"' for prefix, space in list(scope.items())[2:])
    packet = _EMPTY_PACKET.format(rdf=RDF.strip(), x=_WRAPPER, declarations=declarations)
    return Packet.read(packet.encode()).edited(values)


def _namespaces(name: str, value: Value) -> Iterator[str]:
    yield name.rpartition(" ")[0]
    for inner in walk(value):
        yield from (field.rpartition(" ")[0] for field in inner.fields)


# ── reading ───────────────────────────────────────────────────────────────────────────────────


def _decode(content: bytes) -> tuple[str, str]:
    """The whole text, byte order mark included, and its encoding."""
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS if content.startswith(mark)), None)
    if encoding is None:
        encoding = {b"<\0": "utf-16-le", b"\0<": "utf-16-be"}.get(content[:2], "utf-8")
    try:
        written = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise SidecarRefusedError(f"it is no {encoding.upper()}: byte {error.start}") from None
    if "<" not in written:
        raise SidecarRefusedError("it is no XML" if written.strip("\ufeff\0 \r\n\t") else "it is empty")
    return written, encoding


def _prepare(document: bytes, encoding: str) -> bytes:
    """The document for the parser: blanks, as many bytes, for what may stand before it all the same."""
    start = document.index(b"<")
    declared = _DECLARATION.match(document)
    if declared is None:
        return b" " * start + document[start:]
    if named := _ENCODING.search(declared[1]):
        name, whole = named[1].decode(), encoding.replace("-", "")
        _refuse(
            name.lower().replace("-", "") not in (whole, whole[:5]),  # "utf16le", "utf16"
            f"it says that it is {name}, but is {encoding.upper()}",
        )
    begin, end = declared.span(1)
    return b" " * start + document[start:begin] + b" " * (end - begin) + document[end:]


class _Open(NamedTuple):
    """An open element: what may stand in it, the value that this belongs to, and its offset."""

    children: str
    value: Value
    start: int
    texts: list[str]


class _Reader:
    """Turns expat's events into values, as `metadata.xmp` does, but refuses what it does not know.

    `children` of an open element says what stands in it::

        "packet"      x:xmpmeta, whose children are the rdf:RDF and foreign elements
        "foreign"     an element that is none of RDF's
        "nodes"       rdf:RDF: descriptions
        "properties"  a description or a structure: properties, fields
        "value"       a property or an item: text, or one array or description
        "items"       an array: rdf:li
        "nothing"     a property whose attributes have said all
    """

    def __init__(self, document: bytes) -> None:
        self.properties: dict[str, Value] = {}
        self.places: dict[str, _Place] = {}
        self.holders: list[_Holder] = []
        self.root = _Holder(-1, -1, {})
        self.remarks: list[str] = []
        self._document = document
        self._about: str | None = None
        self._left = MAX_VALUES
        self._top = Value()
        self._top.fields = self.properties
        self._open: list[_Open] = []
        self._scope: dict[str, list[str]] = {}
        self._closed = False  # the packet has ended

    def read(self, prepared: bytes) -> None:
        parser = self._parser = expat.ParserCreate("utf-8", " ")
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.StartDoctypeDeclHandler = self._doctype
        parser.CommentHandler = self._comment
        parser.ProcessingInstructionHandler = self._instruction
        parser.StartNamespaceDeclHandler = self._declare
        parser.EndNamespaceDeclHandler = self._undeclare
        understood = len(prepared)
        try:
            parser.Parse(prepared, True)
        except expat.ExpatError as error:
            _refuse(not self._closed, f"it is damaged: {error}")
            understood = parser.ErrorByteIndex
        finally:
            # Each refers to the other: without this only the garbage collector would free the values.
            del self._parser
        _refuse(self.root.start < 0, "it has no rdf:RDF")
        self._look_around(prepared.index(b"<"), understood)

    def _look_around(self, start: int, end: int) -> None:
        """Keep what stands before and behind the packet; which of two packets counts is not ours to say."""
        _refuse(b"<" in self._document[end:], "more than one packet is in it")
        around = self._document[:start], self._document[end:]
        self.remarks += filter(None, (text.decode().strip("\ufeff \t\r\n") for text in around))

    # Events.

    def _declare(self, prefix: str | None, namespace: str | None) -> None:
        self._scope.setdefault(prefix or "", []).append(namespace or "")

    def _undeclare(self, prefix: str | None) -> None:
        self._scope[prefix or ""].pop()

    def _doctype(self, *doctype: object) -> None:
        raise SidecarRefusedError("it has a document type")

    def _comment(self, comment: str) -> None:
        self.remarks.append(f"<!--{comment}-->")

    def _instruction(self, target: str, content: str) -> None:
        if target != "xpacket":
            self.remarks.append(f"<?{target} {content}?>")

    def _characters(self, characters: str) -> None:
        self._open[-1].texts.append(characters)

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._left -= 1 + len(attributes)
        if self._left < 0:
            raise SidecarRefusedError(f"more than {MAX_VALUES:,} values are in it")
        if len(self._open) > MAX_DEPTH:
            raise SidecarRefusedError(f"it is more than {MAX_DEPTH} elements deep")
        within = self._open[-1] if self._open else None
        children, value = self._enter(within, name, attributes)
        self._open.append(_Open(children, value, self._parser.CurrentByteIndex, []))

    def _end(self, name: str) -> None:
        ended = self._open.pop()
        said = "".join(ended.texts)
        if ended.children == "value" and not ended.value.kind:
            ended.value.text = said
        elif ended.children != "foreign" and said.strip(_BLANKS):
            raise SidecarRefusedError(f"text stands among the elements of {usual_name(name)}")
        if ended.children == "foreign":
            self._keep_foreign(ended.start)
        elif (
            len(self._open) and self._open[-1].value is self._top and self._open[-1].children == "properties"
        ):
            end = self._end_of(ended.start)
            self.places[name] = _Place(len(self.holders) - 1, ended.start, end)
            self.holders[-1].insert_at = end
        self._closed = not self._open

    def _end_of(self, start: int) -> int:
        """Behind the element that ends now and started at `start`."""
        here = self._parser.CurrentByteIndex
        tag = _tag(self._document, start)
        return tag.end() if tag[0].endswith(b"/>") else self._document.index(b">", here) + 1

    def _keep_foreign(self, start: int) -> None:
        if not self._open or self._open[-1].children != "foreign":
            self.remarks.append(self._document[start : self._end_of(start)].decode())

    # Which element may stand where.

    def _enter(self, within: _Open | None, name: str, attributes: dict[str, str]) -> tuple[str, Value]:
        if within is None or within.children == "packet":
            return self._enter_packet(within, name)
        if within.children == "foreign":
            _refuse(name == _RDF_ROOT, "an rdf:RDF stands in a foreign element")
            return "foreign", self._top
        if within.children == "nodes":
            return self._enter_description(name, attributes)
        if within.children == "properties":
            return self._enter_property(_add_field(within.value, name), name, attributes)
        if within.children == "items":
            _refuse(name != _ITEM, "is no item of an array", name)
            within.value.items.append(item := Value())
            return self._enter_property(item, name, attributes)
        _refuse(
            within.children == "nothing" or bool(within.value.kind),
            "is one value too many",
            name,
        )
        return self._enter_value(within.value, name, attributes)

    def _enter_packet(self, within: _Open | None, name: str) -> tuple[str, Value]:
        if name != _RDF_ROOT:
            return ("foreign" if within else "packet"), self._top
        _refuse(self.root.start >= 0, "more than one rdf:RDF is in it")
        self.root = self._holder()
        return "nodes", self._top

    def _enter_description(self, name: str, attributes: dict[str, str]) -> tuple[str, Value]:
        """A top-level description; all of them must be about the same thing."""
        _refuse(name != _DESCRIPTION, "stands where a description should", name)
        about = [attributes.pop(spelling, None) for spelling in (_ABOUT, "about")]
        for subject in about:
            _refuse(
                None not in (subject, self._about) and subject != self._about, "it is about several things"
            )
            self._about = subject if self._about is None else self._about
        self.holders.append(self._holder())
        self._add_attributes(self._top, attributes)
        self.places.update(dict.fromkeys(attributes, _Place(len(self.holders) - 1)))
        return "properties", self._top

    def _enter_property(self, value: Value, name: str, attributes: dict[str, str]) -> tuple[str, Value]:
        """An element whose value is `value`: its attributes may say all of it already."""
        spoken = attributes.pop(LANGUAGE, None)
        if spoken is not None:
            value.qualifiers[LANGUAGE] = Value(spoken)
        parse_type = attributes.pop(_PARSE_TYPE, None)
        if parse_type is not None:
            _refuse(parse_type != "Resource", f"has the parse type {parse_type}", name)
            _refuse(bool(attributes), "has attributes and fields", name)
            value.kind = STRUCT
            return "properties", value
        if RESOURCE in attributes:
            value.text = attributes.pop(RESOURCE)
            value.qualifiers[RESOURCE] = Value()
            _refuse(bool(attributes), "has a qualifier", name)
            return "nothing", value
        if attributes:
            value.kind = STRUCT
            self._add_attributes(value, attributes)
            return "nothing", value
        return "value", value

    def _enter_value(self, value: Value, name: str, attributes: dict[str, str]) -> tuple[str, Value]:
        """An element that describes `value`: an array or a structure."""
        if name in _ARRAYS:
            _refuse(bool(attributes), "has attributes", name)
            value.kind = _ARRAYS[name]
            return "items", value
        _refuse(name != _DESCRIPTION, "is a typed node", name)
        value.kind = STRUCT
        self._add_attributes(value, attributes)
        return "properties", value

    def _add_attributes(self, value: Value, attributes: dict[str, str]) -> None:
        for name, content in attributes.items():
            _add_field(value, name).text = content

    def _holder(self) -> _Holder:
        start = self._parser.CurrentByteIndex
        scope = {prefix: spaces[-1] for prefix, spaces in self._scope.items() if prefix and spaces}
        return _Holder(start, _tag(self._document, start).end(), scope)


def _refuse(wrong: bool, reason: str, name: str = "") -> None:
    if wrong:
        raise SidecarRefusedError(f"{usual_name(name)} {reason}" if name else reason)


def _add_field(value: Value, name: str) -> Value:
    _refuse(" " not in name, "something has no namespace")
    _refuse(name == _VALUE, "a value has qualifiers")
    _refuse(name.startswith((RDF, XML)), "is not understood", name)
    _refuse(name in value.fields, "stands twice", name)
    field = value.fields[name] = Value()
    return field


def _tag(document: bytes, start: int) -> re.Match[bytes]:
    """The start tag at an offset where the parser found one; group 1 is its name."""
    match = _TAG.match(document, start)
    assert match, "the parser and the pattern agree on what a tag is"
    return match


# ── writing ───────────────────────────────────────────────────────────────────────────────────


class _Edit(NamedTuple):
    start: int
    end: int
    new: bytes


def _apply(document: bytes, edits: Sequence[_Edit]) -> bytes:
    """The document with its edits, which do not overlap."""
    parts, at = [], 0
    for edit in sorted(edits):
        parts += [document[at : edit.start], edit.new]
        at = edit.end
    return b"".join([*parts, document[at:]])


def _lead(document: bytes, position: int) -> bytes:
    """The line break and the indentation right before a position; nothing within a line."""
    match = _LEAD.search(document, max(0, position - 200), position)
    return match[0] if match else b""


def _inner_lead(document: bytes, holder: _Holder) -> bytes:
    """The lead of a new property: one step deeper than its description."""
    lead = _lead(document, holder.start)
    return lead and lead + b" "


def _insert(document: bytes, holder: _Holder, new: bytes) -> _Edit:
    """Put something behind the last child of an element; one without an end tag gets it."""
    tag = _tag(document, holder.start)
    if not tag[0].endswith(b"/>"):
        return _Edit(holder.insert_at, holder.insert_at, new)
    end_tag = b"%s</%s>" % (_lead(document, holder.start), tag[1])
    return _Edit(tag.end() - 2, tag.end(), b">" + new + end_tag)


def _add_description(document: bytes, root: _Holder, additions: Mapping[str, Value]) -> _Edit:
    lead = _inner_lead(document, root)
    inner = lead and lead + b" "
    scope = {"rdf": RDF.strip()}
    elements = b"".join(inner + _element(*item, inner, scope) for item in additions.items())
    opening = b'<rdf:Description xmlns:rdf="%s" rdf:about="">' % RDF.strip().encode()
    return _insert(document, root, lead + opening + elements + lead + b"</rdf:Description>")


def _find_attribute(document: bytes, holder: _Holder, name: str) -> re.Match[bytes]:
    """The attribute of a description that has this key; group 2 is its value in quotes."""
    namespace, _, local = name.rpartition(" ")
    tag = _tag(document, holder.start)
    for match in _ATTRIBUTE.finditer(document, tag.end(1), tag.end()):
        prefix, _, found = match[1].decode().rpartition(":")
        if found == local and holder.scope.get(prefix) == namespace:
            return match
    raise AssertionError(f"{name} was read as an attribute")


def _remarks(element: bytes) -> list[bytes]:
    """The comments and instructions in an element, which outlive what they stand in."""
    return [match[0] for match in _REMARK.finditer(element) if not match[0].startswith(b"<![CDATA[")]


def _fits_attribute(value: Value) -> bool:
    return not value.kind and not value.qualifiers


def _escape(content: str) -> bytes:
    return _ESCAPED.sub(lambda match: _ESCAPES[match[0]], content).encode()


def _element(name: str, value: Value, lead: bytes, scope: Mapping[str, str]) -> bytes:
    """A property as an element that declares what namespaces are not in scope.

    `lead` is the line break and indentation that it stands behind; without one all is on one line.
    """
    prefixes = {space: prefix for prefix, space in scope.items()}
    declarations = b""
    for space in dict.fromkeys([*_namespaces(name, value), RDF.strip()]):
        if space not in prefixes:
            prefix = prefixes[space] = _new_prefix(space, {*scope, *prefixes.values()})
            declarations += b' xmlns:%s="%s"' % (prefix.encode(), _escape(space))
    return _Writer(prefixes).element(name, value, lead, declarations)


def _new_prefix(namespace: str, taken: Collection[str]) -> str:
    """The usual prefix of a namespace, or one like it where that means another already."""
    usual = _PREFIXES.get(namespace, "ns")
    numbered = (f"{usual}{number}" for number in itertools.count(2))
    return next(prefix for prefix in itertools.chain([usual], numbered) if prefix not in taken)


class _Writer:
    """Values as elements, with the prefixes of their namespaces."""

    def __init__(self, prefixes: Mapping[str, str]) -> None:
        self._prefixes = prefixes
        self._rdf = prefixes[RDF.strip()].encode()

    def element(self, name: str, value: Value, lead: bytes, declarations: bytes = b"") -> bytes:
        namespace, _, local = name.rpartition(" ")
        tag = b"%s:%s" % (self._prefixes[namespace].encode(), local.encode())
        opening = tag + declarations
        if LANGUAGE in value.qualifiers:
            opening += b' xml:lang="%s"' % _escape(value.language)
        if RESOURCE in value.qualifiers:
            return b'<%s %s:resource="%s"/>' % (opening, self._rdf, _escape(value.text))
        inner = lead and lead + b" "
        if value.kind == STRUCT:
            fields = b"".join(inner + self.element(*field, inner) for field in value.fields.items())
            return b'<%s %s:parseType="Resource">%s%s</%s>' % (opening, self._rdf, fields, lead, tag)
        content = self._items(value, inner) + lead if value.kind else _escape(value.text)
        return b"<%s>%s</%s>" % (opening, content, tag)

    def _items(self, value: Value, lead: bytes) -> bytes:
        inner = lead and lead + b" "
        items = b"".join(inner + self.element(_ITEM, item, inner) for item in value.items)
        array = b"%s:%s" % (self._rdf, value.kind.encode())
        return b"%s<%s>%s%s</%s>" % (lead, array, items, lead, array)
