"""The images of a Lightroom catalog, one after the other, with all that was set on them.

Every table that says something of images is read in the order of the images beside them, so that
memory holds a page of each, however many there are, and no index is needed that some version lacks:

    Adobe_images  1  2  3  4 …      one cursor a table; where a table has no index by image
    keywords      1 1  3   4 4 …    SQLite sorts it on disk
    collections      2 2 …

What there is once a catalog (folders, keywords, collections, names of places) is held as a whole.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from catalogd.metadata.exif import BOILERPLATE
from catalogd.metadata.values import clean_text, clean_word, clean_words
from catalogd.records import Box, Place, Region, UserFacts
from catalogd.sync.lightroom.labels import standard_label
from catalogd.sync.lightroom.packets import NOTHING, Words, words_of
from catalogd.sync.lightroom.tables import Row, Tables
from catalogd.sync.lightroom.written import FIELD, PLUGIN, read_note
from catalogd.sync.lightroom.written import NOTHING as NOTHING_WRITTEN

SOURCE = "lightroom"  # under which catalogd keeps what Lightroom gave, by the plugin or from here
EPOCH_S = 978_307_200  # 2001-01-01 in seconds since 1970: from which Lightroom counts
OWN_KEYWORD = "catalogd"  # the keyword below which the plugin puts those that models found
MOST_LEVELS = 50  # of keywords, collections in sets: more is a circle
MOST_WORDS = 2000  # keywords of one image; beyond, something is wrong
_ORDINARY, _SET, _SMART = (
    f"com.adobe.ag.library.{kind}" for kind in ("collection", "group", "smart_collection")
)
_KINDS = {_ORDINARY: "collection", _SET: "set", _SMART: "smart"}
_RULES_OWNER = "ag.library.smart_collection"
_NOT_ZERO = re.compile("[1-9]")
_INTERNED = ("City", "State", "Country", "Location", "IsoCountryCode")


class Root(NamedTuple):
    """A folder that Lightroom shows at the top, on some disk."""

    root_id: int
    path: str  # "/" between its names, and at its end; "D:/Photos/" on Windows
    relative: str | None  # to the folder of the catalog, where Lightroom knows it
    name: str


class Folder(NamedTuple):
    """A folder in a root."""

    root_id: int
    path: str  # from the root on, "/" at its end; "" is the root itself


class Keyword(NamedTuple):
    """A keyword with those above it."""

    path: str  # "Animals|Dog"
    synonyms: tuple[str, ...]  # its own, and of those above it
    is_person: bool
    is_own: bool  # catalogd put it there
    is_private: bool = False  # not to be exported: nobody is named by it, as names get into sidecars

    @property
    def name(self) -> str:
        return self.path.rpartition("|")[2]


class CollectionEntry(NamedTuple):
    """A collection as Lightroom shows it."""

    collection_id: int
    name: str  # "Set/Name"
    kind: str  # "collection", "set", "smart"


class Image(NamedTuple):
    """One image, or one virtual copy of an image."""

    uuid: str
    root_id: int | None  # None: its folder is not in the catalog
    path: str  # from the root on, with the file's name
    is_video: bool
    master: str | None  # uuid of the image that it is a virtual copy of
    facts: UserFacts


class Reader:
    """Reads one catalog."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.roots = {root.root_id: root for root in self._read_roots()}
        self.folders = dict(self._read_folders())
        self.keywords = self._read_keywords()
        self.collections = {entry.collection_id: entry for entry in self._read_collections()}
        self._interned = {kind: dict(self._read_interned(kind)) for kind in _INTERNED}

    # -- once a catalog ----------------------------------------------------------------------------

    def _read_roots(self) -> Iterator[Root]:
        columns = self.tables.pick(
            "AgLibraryRootFolder", "r", "id_local", "absolutePath", "relativePathFromCatalog", "name"
        )
        for root_id, path, relative, name in self.tables.rows(f"SELECT {columns} FROM AgLibraryRootFolder r"):
            if root_id is not None:
                yield Root(int(root_id), _folder_path(path), _text_or_none(relative), str(name or ""))

    def _read_folders(self) -> Iterator[tuple[int, Folder]]:
        columns = self.tables.pick("AgLibraryFolder", "f", "id_local", "rootFolder", "pathFromRoot")
        for folder_id, root_id, path in self.tables.rows(f"SELECT {columns} FROM AgLibraryFolder f"):
            root_number = _id(root_id)
            if root_number is not None:
                yield int(folder_id), Folder(root_number, _folder_path(path))

    def _read_keywords(self) -> dict[int, Keyword]:
        if not self.tables.has("AgLibraryKeyword", "id_local", "name"):
            return {}
        columns = self.tables.pick(
            "AgLibraryKeyword", "k", "id_local", "name", "parent", "keywordType", "includeOnExport"
        )
        rows = {int(row[0]): row for row in self.tables.rows(f"SELECT {columns} FROM AgLibraryKeyword k")}
        synonyms = self._read_synonyms()
        return {number: _keyword(number, rows, synonyms) for number in rows}

    def _read_synonyms(self) -> dict[int, list[str]]:
        found: dict[int, list[str]] = {}
        if self.tables.has("AgLibraryKeywordSynonym", "keyword", "name"):
            rows = self.tables.rows(
                "SELECT keyword, name FROM AgLibraryKeywordSynonym ORDER BY keyword, name"
            )
            for keyword, name in rows:
                number, word = _id(keyword), clean_word(str(name or ""))
                if number is not None and word:
                    found.setdefault(number, []).append(word)
        return found

    def _read_collections(self) -> Iterator[CollectionEntry]:
        if not self.tables.has("AgLibraryCollection", "id_local", "name"):
            return
        columns = self.tables.pick(
            "AgLibraryCollection", "c", "id_local", "name", "parent", "creationId", "systemOnly"
        )
        rows = {int(row[0]): row for row in self.tables.rows(f"SELECT {columns} FROM AgLibraryCollection c")}
        names: set[str] = set()
        for number, (_, _, _, kind, system) in sorted(rows.items()):
            if kind in _KINDS and not _number(system) and (name := _collection_name(number, rows)):
                name = _unique(name, names)
                yield CollectionEntry(number, name, _KINDS[kind])

    def _read_interned(self, kind: str) -> Iterator[tuple[int, str]]:
        table = f"AgInternedIptc{kind}"
        if self.tables.has(table, "id_local", "value"):
            for number, value in self.tables.rows(f"SELECT id_local, value FROM {table}"):
                if word := clean_word(str(value or "")):
                    yield int(number), word

    def smart_rules(self) -> Iterator[tuple[int, str]]:
        """The rules of the smart collections as they are written, by collection."""
        if not self.tables.has("AgLibraryCollectionContent", "collection", "content", "owningModule"):
            return
        rows = self.tables.rows(
            "SELECT collection, content FROM AgLibraryCollectionContent WHERE owningModule = ? "
            "ORDER BY collection",
            _RULES_OWNER,
        )
        for number, content in rows:
            if number in self.collections and isinstance(content, str | bytes):
                text = content if isinstance(content, str) else content.decode("utf-8", "replace")
                yield int(number), text

    def members(self) -> Iterator[tuple[int, Iterator[str]]]:
        """The uuids of each collection's images in their order; read each before the next collection."""
        if not self.tables.has("AgLibraryCollectionImage", "collection", "image"):
            return
        position = self.tables.pick("AgLibraryCollectionImage", "c", "positionInCollection")
        rows = self.tables.rows(
            "SELECT c.collection, i.id_global FROM AgLibraryCollectionImage c JOIN Adobe_images i "
            "ON i.id_local = c.image WHERE i.id_global IS NOT NULL "
            f"ORDER BY c.collection, {position}, c.image"
        )
        for number, group in itertools.groupby(rows, lambda row: row[0]):
            if number in self.collections:
                yield int(number), (str(uuid) for _, uuid in group)

    # -- the images --------------------------------------------------------------------------------

    def count(self) -> int:
        """How many images there are, with videos and virtual copies."""
        return int(self.tables.one("SELECT count(*) FROM Adobe_images"))

    def has_uuid(self, uuids: list[str]) -> set[str]:
        """Which of some uuids the catalog has."""
        marks = ",".join("?" * len(uuids))
        return {
            str(row[0])
            for row in self.tables.rows(
                f"SELECT id_global FROM Adobe_images WHERE id_global IN ({marks})", *uuids
            )
        }

    def images(self) -> Iterator[Image]:
        """All images that have a uuid, in the order in which Lightroom took them in."""
        beside = _Beside(self.tables)
        for row in self._image_rows():
            if row[1]:
                beside.go_to(row[0])
                yield self._image(row, beside)

    def _image_rows(self) -> Iterator[Row]:
        image = self.tables.pick(
            "Adobe_images",
            "i",
            *("id_local", "id_global", "copyName", "rating", "pick", "colorLabels", "fileFormat"),
            *("fileWidth", "fileHeight", "touchTime", "developSettingsIDCache"),
        )
        file = self.tables.pick("AgLibraryFile", "f", "folder", "idx_filename", "baseName", "extension")
        master = "m.id_global" if self.tables.has("Adobe_images", "masterImage") else "NULL"
        join = "LEFT JOIN Adobe_images m ON m.id_local = i.masterImage" if master != "NULL" else ""
        return self.tables.rows(
            f"SELECT {image}, {file}, {master} FROM Adobe_images i "
            f"LEFT JOIN AgLibraryFile f ON f.id_local = i.rootFile {join} ORDER BY i.id_local"
        )

    def _image(self, row: Row, beside: _Beside) -> Image:
        number, uuid, copy_name, rating, pick, label, kind, width, height, touched, develop_id = row[:11]
        folder = self.folders.get(row[11]) if row[11] is not None else None
        name = row[12] or ".".join(str(part) for part in row[13:15] if part)
        facts = UserFacts(
            source=SOURCE,
            uuid=str(uuid),
            rating=_rating(rating),
            pick=_pick(pick),
            label=_label(label),
            develop=_developed(beside.develop.of(number), develop_id, width, height),
            stack=_stack(beside.stacks.of(number)),
            copy_name=clean_word(str(copy_name or "")) if row[15] else None,
            changed_at=None if _number(touched) is None else (_number(touched) or 0.0) + EPOCH_S,
            **self._position(beside.exif.of(number)),
            **self._said(number, beside),
            place=self._place(beside.iptc.of(number)),
            collections=self._collections_of(beside.collections.of(number)),
        )
        facts = beside.written.left_of(facts)
        return Image(
            str(uuid),
            folder.root_id if folder else None,
            (folder.path if folder else "") + str(name),
            kind == "VIDEO",
            None if row[15] is None else str(row[15]),
            facts,
        )

    def _said(self, number: int, beside: _Beside) -> dict[str, Any]:
        """Words: title, caption, keywords, people, faces."""
        captions = (clean_text(str(row[1] or "")) for row in beside.captions.of(number))
        caption = next((text for text in captions if text and not BOILERPLATE.fullmatch(text)), None)
        words, written = beside.words(number, caption is not None), beside.written
        own = words.own_keywords | written.keyword_paths()
        keywords = self._keywords_of(beside.keywords.of(number), own)
        tagged = [keyword for keyword in keywords if not keyword.is_person]
        regions = tuple(self._regions(beside.faces.of(number)))
        people = [keyword.name for keyword in keywords if keyword.is_person]
        people += [region.name for region in regions]
        people += () if ", ".join(words.people) == written.shown() else words.people
        return {
            "title": words.title,
            "caption": words.caption if caption is None else None if caption == words.left_out else caption,
            "keywords": tuple(dict.fromkeys(keyword.name for keyword in tagged)),
            "keyword_paths": tuple(keyword.path for keyword in tagged if "|" in keyword.path),
            "synonyms": tuple(dict.fromkeys(word for keyword in tagged for word in keyword.synonyms)),
            "people": tuple(clean_words(people)),
            "regions": regions,
        }

    def _keywords_of(self, rows: list[Row], own: frozenset[str]) -> list[Keyword]:
        """Those that a person gave; `own` are paths of catalogd's."""
        if not rows:
            return []
        numbers = dict.fromkeys(row[1] for row in rows)
        found = [self.keywords[number] for number in numbers if number in self.keywords]
        theirs = [
            keyword
            for keyword in found
            if keyword.path and not keyword.is_own and keyword.path.casefold() not in own
        ]
        return sorted(theirs)[:MOST_WORDS]

    def _regions(self, rows: list[Row]) -> Iterator[Region]:
        """The faces that a person confirmed. See Note [frame of faces]."""
        for _, keyword, *corners in rows:
            box = _box(corners)
            named = self.keywords.get(keyword)
            if box is not None and named is not None and named.name and not named.is_private:
                yield Region(box, named.name)

    def _collections_of(self, rows: list[Row]) -> tuple[str, ...]:
        entries = (self.collections.get(row[1]) for row in rows)
        return tuple(sorted({entry.name for entry in entries if entry is not None}))[:MOST_WORDS]

    def _position(self, rows: list[Row]) -> dict[str, Any]:
        for _, latitude, longitude, has_gps in rows:
            north, east = _number(latitude), _number(longitude)
            given = north is not None and east is not None and (has_gps is None or _number(has_gps))
            if given and abs(north or 0) <= 90 and abs(east or 0) <= 180:
                return {"latitude": north or 0.0, "longitude": east or 0.0}
        return {}

    def _place(self, rows: list[Row]) -> Place | None:
        for row in rows:
            city, state, country, spot, code = (
                self._interned[kind].get(value, "") for kind, value in zip(_INTERNED, row[1:], strict=True)
            )
            if city or state or country or spot:
                return Place(code.upper() if len(code) == 2 else "", country, state, city, spot)
        return None


# Note [frame of faces]
# Lightroom keeps four corners of a face in fractions. Whether they lie on the upright picture or on the
# stored one was not verified with photos that are stored turned; they are taken as on the upright one,
# as the least and the most of the corners, which is the same for photos that are not turned.


class _Ordered:
    """Rows of a table by image, handed out image by image; each begins with the image's number."""

    def __init__(self, rows: Iterator[Row]) -> None:
        self._rows = rows
        self._next = next(rows, None)

    def of(self, image: int) -> list[Row]:
        """The rows of an image; ask in their order."""
        if self._next is None or self._next[0] > image:
            return []
        found = []
        while self._next is not None and self._next[0] <= image:
            if self._next[0] == image:
                found.append(self._next)
            self._next = next(self._rows, None)
        return found


class _Beside:
    """All tables that say something of images, each at the image that is being read."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self.keywords = self._ordered("AgLibraryKeywordImage", "tag")
        self.collections = self._ordered("AgLibraryCollectionImage", "collection")
        self.captions = self._ordered("AgLibraryIPTC", "caption")
        self.exif = self._ordered("AgHarvestedExifMetadata", "gpsLatitude", "gpsLongitude", "hasGPS")
        self.iptc = self._ordered(
            "AgHarvestedIptcMetadata", "cityRef", "stateRef", "countryRef", "locationRef", "isoCountryCodeRef"
        )
        self.develop = self._ordered(
            "Adobe_imageDevelopSettings",
            *(
                "id_local",
                "hasDevelopAdjustments",
                "hasDevelopAdjustmentsEx",
                "croppedWidth",
                "croppedHeight",
            ),
            *("grayscale", "hasMasks", "hasAIMasks", "hasRetouch"),
        )
        self.stacks = _Ordered(_stack_rows(tables))
        self.faces = _Ordered(_face_rows(tables))
        self.written = NOTHING_WRITTEN  # of the image that is being read
        self._notes = _Ordered(_note_rows(tables))
        has_packets = tables.has("Adobe_AdditionalMetadata", "xmp")
        self._packets = (
            self._ordered("Adobe_AdditionalMetadata", "rowid") if has_packets else _Ordered(iter(()))
        )

    def _ordered(self, table: str, *columns: str) -> _Ordered:
        if not self._tables.has(table, "image"):
            return _Ordered(iter(()))
        picked = "t.rowid" if columns == ("rowid",) else self._tables.pick(table, "t", *columns)
        return _Ordered(
            self._tables.rows(
                f"SELECT t.image, {picked} FROM {table} t WHERE {_is_id('t.image')} ORDER BY t.image"
            )
        )

    def go_to(self, image: int) -> None:
        """The next image is read."""
        rows = self._notes.of(image)
        self.written = read_note(rows[0][1]) if rows else NOTHING_WRITTEN

    def words(self, image: int, has_caption: bool) -> Words:
        """Of the image's XMP packet, which is fetched by its row: packets are too large to be sorted."""
        rows = self._packets.of(image)
        if not rows:
            return NOTHING
        sql = "SELECT xmp FROM Adobe_AdditionalMetadata WHERE rowid = ?"
        return words_of(self._tables.one(sql, rows[-1][1]), has_caption)


def _note_rows(tables: Tables) -> Iterator[Row]:
    """Image, and the plugin's note of what it wrote."""
    if not tables.has("AgPhotoProperty", "photo", "propertySpec", "internalValue"):
        return iter(())
    if not tables.has("AgPhotoPropertySpec", "id_local", "key", "sourcePlugin"):
        return iter(())
    return tables.rows(
        "SELECT p.photo, p.internalValue FROM AgPhotoProperty p JOIN AgPhotoPropertySpec s "
        f"ON s.id_local = p.propertySpec WHERE s.sourcePlugin = ? AND s.key = ? AND {_is_id('p.photo')} "
        "ORDER BY p.photo",
        PLUGIN,
        FIELD,
    )


def _stack_rows(tables: Tables) -> Iterator[Row]:
    """Image, its stack's name, its place in the stack from 1."""
    if not tables.has("AgLibraryFolderStackImage", "stack", "image", "position"):
        return iter(())
    named = tables.has("AgLibraryFolderStack", "id_local", "id_global")
    join = "LEFT JOIN AgLibraryFolderStack k ON k.id_local = s.stack" if named else ""
    return tables.rows(
        f"SELECT s.image, {'k.id_global' if named else 'NULL'}, s.stack, "
        "row_number() OVER (PARTITION BY s.stack ORDER BY s.position, s.image) "
        f"FROM AgLibraryFolderStackImage s {join} WHERE {_is_id('s.image')} ORDER BY s.image"
    )


def _face_rows(tables: Tables) -> Iterator[Row]:
    """Image, keyword of the person, x and y of the four corners: of faces that a person confirmed."""
    corners = [f"{corner}_{axis}" for corner in ("tl", "tr", "bl", "br") for axis in "xy"]
    if not tables.has("AgLibraryKeywordFace", "face", "tag", "userPick") or not tables.has(
        "AgLibraryFace", "image"
    ):
        return iter(())
    ignored = "AND coalesce(f.ignored, 0) = 0" if tables.has("AgLibraryFace", "ignored") else ""
    return tables.rows(
        f"SELECT f.image, k.tag, {tables.pick('AgLibraryFace', 'f', *corners)} "
        "FROM AgLibraryKeywordFace k JOIN AgLibraryFace f ON f.id_local = k.face "
        f"WHERE CAST(k.userPick AS INTEGER) = 1 AND {_is_id('f.image')} {ignored} "
        "ORDER BY f.image, f.id_local"
    )


# -- values ----------------------------------------------------------------------------------------


def _is_id(column: str) -> str:
    """The SQL condition that a column names a row; in a damaged catalog anything may stand there."""
    return f"typeof({column}) IN ('integer', 'real')"


def _id(value: object) -> int | None:
    """The row that a value names; None where it names none."""
    number = _number(value)
    return None if number is None else int(number)


def _number(value: object) -> float | None:
    """A number that SQLite may have kept as text."""
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    return float(value) if isinstance(value, int | float) and abs(value) < 1e15 else None


def _text_or_none(value: object) -> str | None:
    return str(value) if value is not None and str(value) else None


def _folder_path(value: object) -> str:
    """A path with "/" at its end, whatever is there."""
    path = str(value or "")
    return path + "/" if path and not path.endswith("/") else path


def _rating(value: object) -> int | None:
    stars = _number(value)
    return None if stars is None or not 0 <= stars <= 5 else round(stars)


def _label(value: object) -> str | None:
    text = clean_word(str(value or ""))
    return None if text is None else standard_label(text)


def _pick(value: object) -> int | None:
    flag = _number(value)
    return None if flag is None else (flag > 0) - (flag < 0)


def _keyword(number: int, rows: dict[int, Row], synonyms: dict[int, list[str]]) -> Keyword:
    """The root has no name, and is no level."""
    levels: list[str] = []
    words: dict[str, None] = {}
    at: int | None = number
    for _ in range(MOST_LEVELS):
        row = rows.get(at) if at is not None else None
        if row is None:
            break
        word = clean_word(str(row[1] or "").replace("|", "/"))
        if word:
            levels.insert(0, word)
            words.update(dict.fromkeys(synonyms.get(int(row[0]), ())))
        at = _id(row[2])
    is_own = bool(levels) and levels[0].casefold() == OWN_KEYWORD
    has_name = clean_word(str(rows[number][1] or "")) is not None
    is_private = _number(rows[number][4]) == 0
    is_person = rows[number][3] == "person" and not is_private
    return Keyword("|".join(levels) if has_name else "", tuple(words), is_person, is_own, is_private)


def _collection_name(number: int, rows: dict[int, Row]) -> str:
    """With the sets that it is in; "" for what Lightroom keeps for itself."""
    levels: list[str] = []
    at: int | None = number
    for _ in range(MOST_LEVELS):
        row = rows.get(at) if at is not None else None
        if row is None:
            break
        word = clean_word(str(row[1] or "").replace("/", "-"))
        if word is None or str(row[3] or "").endswith(".unsaved"):
            return ""
        levels.insert(0, word)
        at = _id(row[2])
    return "/".join(levels)


def _unique(name: str, names: set[str]) -> str:
    """The name, or with a number behind it where another one is the same but for its case."""
    tries = itertools.chain([name], (f"{name} ({number})" for number in itertools.count(2)))
    chosen = next(tried for tried in tries if tried.casefold() not in names)
    names.add(chosen.casefold())
    return chosen


def _box(corners: list[object]) -> Box | None:
    numbers = [_number(value) for value in corners]
    if any(value is None or not -0.5 <= value <= 1.5 for value in numbers):
        return None
    xs, ys = ([min(max(value or 0.0, 0.0), 1.0) for value in numbers[axis::2]] for axis in (0, 1))
    left, top, width, height = min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)
    return (left, top, width, height) if width > 0 and height > 0 else None


def _stack(rows: list[Row]) -> tuple[str, int] | None:
    for _, name, number, place in rows:
        return str(name or number), int(place)
    return None


def _developed(rows: list[Row], current: object, width: object, height: object) -> tuple[str, ...]:
    """What was done to the image; of several rows of settings the current one counts, or else the last."""
    if not rows:
        return ()
    row = next((row for row in rows if row[1] == current), rows[-1])
    _, _, adjusted, adjusted_more, cropped_width, cropped_height, grey, masks, ai_masks, retouch = row
    done = {
        "adjusted": _is_set(adjusted) or _is_set(adjusted_more),
        "cropped": _is_cropped((cropped_width, cropped_height), (width, height)),
        "black_and_white": _is_set(grey),
        "masked": _is_set(masks) or _is_set(ai_masks),
        "retouched": _is_set(retouch),
    }
    return tuple(name for name, is_so in done.items() if is_so)


def _is_set(value: object) -> bool:
    """A flag, or a set of flags in text: "0" and "000" are none."""
    return bool(value) and _NOT_ZERO.search(str(value)) is not None


def _is_cropped(now: tuple[object, object], whole: tuple[object, object]) -> bool:
    """Sizes in pixels, of the frame as it is turned or not; a word in place of a number is no crop."""
    if now == whole:
        return False
    sizes = [_number(value) for value in (*now, *whole)]
    if any(size is None or size <= 0 for size in sizes):
        return False
    return sorted(round(size or 0) for size in sizes[:2]) != sorted(round(size or 0) for size in sizes[2:])
