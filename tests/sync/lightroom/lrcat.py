"""Makes catalogs as Lightroom Classic's are, of several versions, with our own DDL.

Names of tables and columns are facts of the format; columns have no types, as in Lightroom's files. Rows
are written as Lightroom writes them: numbers as REAL, flags as text, packets as text or compressed.
"""

from __future__ import annotations

import re
import sqlite3
import uuid
import zlib
from pathlib import Path
from typing import Any

EPOCH_S = 978_307_200

_TABLES = {
    "Adobe_variablesTable": (
        "id_local INTEGER PRIMARY KEY, id_global UNIQUE NOT NULL, name, type, value NOT NULL DEFAULT ''"
    ),
    "Adobe_images": (
        "id_local INTEGER PRIMARY KEY, id_global UNIQUE NOT NULL, aspectRatioCache DEFAULT -1, "
        "captureTime, colorLabels NOT NULL DEFAULT '', copyName, developSettingsIDCache, fileFormat "
        "NOT NULL DEFAULT 'unset', fileHeight, fileWidth, masterImage INTEGER, orientation, pick NOT "
        "NULL DEFAULT 0, rating, rootFile INTEGER NOT NULL DEFAULT 0, touchTime NOT NULL DEFAULT 0"
    ),
    "AgLibraryRootFolder": (
        "id_local INTEGER PRIMARY KEY, id_global UNIQUE NOT NULL, absolutePath UNIQUE NOT NULL "
        "DEFAULT '', name NOT NULL DEFAULT '', relativePathFromCatalog"
    ),
    "AgLibraryFolder": (
        "id_local INTEGER PRIMARY KEY, id_global UNIQUE NOT NULL, pathFromRoot NOT NULL DEFAULT '', "
        "rootFolder INTEGER NOT NULL DEFAULT 0"
    ),
    "AgLibraryFile": (
        "id_local INTEGER PRIMARY KEY, id_global UNIQUE NOT NULL, baseName NOT NULL DEFAULT '', "
        "errorMessage, extension NOT NULL DEFAULT '', externalModTime, folder INTEGER NOT NULL "
        "DEFAULT 0, idx_filename NOT NULL DEFAULT '', importHash, md5, originalFilename NOT NULL "
        "DEFAULT '', sidecarExtensions"
    ),
    "AgLibraryKeyword": (
        "id_local INTEGER PRIMARY KEY, id_global UNIQUE NOT NULL, genealogy NOT NULL DEFAULT '', "
        "includeOnExport NOT NULL DEFAULT 1, keywordType, lc_name, name, parent INTEGER"
    ),
    "AgLibraryKeywordImage": (
        "id_local INTEGER PRIMARY KEY, image INTEGER NOT NULL DEFAULT 0, tag INTEGER NOT NULL DEFAULT 0"
    ),
    "AgLibraryKeywordSynonym": (
        "id_local INTEGER PRIMARY KEY, keyword INTEGER NOT NULL DEFAULT 0, lc_name, name"
    ),
    "AgLibraryCollection": (
        "id_local INTEGER PRIMARY KEY, creationId NOT NULL DEFAULT '', genealogy NOT NULL DEFAULT '', "
        "imageCount, name NOT NULL DEFAULT '', parent INTEGER, systemOnly NOT NULL DEFAULT ''"
    ),
    "AgLibraryCollectionImage": (
        "id_local INTEGER PRIMARY KEY, collection INTEGER NOT NULL DEFAULT 0, image INTEGER NOT NULL "
        "DEFAULT 0, pick NOT NULL DEFAULT 0, positionInCollection"
    ),
    "AgLibraryCollectionContent": (
        "id_local INTEGER PRIMARY KEY, collection INTEGER NOT NULL DEFAULT 0, content, owningModule"
    ),
    "AgLibraryIPTC": "id_local INTEGER PRIMARY KEY, caption, copyright, image INTEGER NOT NULL DEFAULT 0",
    "Adobe_AdditionalMetadata": (
        "id_local INTEGER PRIMARY KEY, id_global UNIQUE NOT NULL, embeddedXmp NOT NULL DEFAULT 0, "
        "externalXmpIsDirty NOT NULL DEFAULT 0, image INTEGER, isRawFile NOT NULL DEFAULT 0, xmp NOT "
        "NULL DEFAULT ''"
    ),
    "AgHarvestedExifMetadata": (
        "id_local INTEGER PRIMARY KEY, image INTEGER, aperture, cameraModelRef INTEGER, dateDay, "
        "dateMonth, dateYear, focalLength, gpsLatitude, gpsLongitude, gpsSequence NOT NULL DEFAULT 0, "
        "hasGPS, isoSpeedRating, lensRef INTEGER, shutterSpeed"
    ),
    "AgHarvestedIptcMetadata": (
        "id_local INTEGER PRIMARY KEY, image INTEGER, cityRef INTEGER, countryRef INTEGER, "
        "isoCountryCodeRef INTEGER, locationRef INTEGER, stateRef INTEGER"
    ),
    "AgInternedIptcCity": "id_local INTEGER PRIMARY KEY, searchIndex, value",
    "AgInternedIptcState": "id_local INTEGER PRIMARY KEY, searchIndex, value",
    "AgInternedIptcCountry": "id_local INTEGER PRIMARY KEY, searchIndex, value",
    "AgInternedIptcLocation": "id_local INTEGER PRIMARY KEY, searchIndex, value",
    "AgInternedIptcIsoCountryCode": "id_local INTEGER PRIMARY KEY, searchIndex, value",
    "Adobe_imageDevelopSettings": (
        "id_local INTEGER PRIMARY KEY, croppedHeight, croppedWidth, grayscale INTEGER, hasAIMasks "
        "INTEGER NOT NULL DEFAULT 0, hasDevelopAdjustments INTEGER, hasDevelopAdjustmentsEx, hasMasks "
        "INTEGER NOT NULL DEFAULT 0, hasRetouch, image INTEGER, processVersion, text"
    ),
    "AgLibraryFolderStack": (
        "id_local INTEGER PRIMARY KEY, id_global UNIQUE NOT NULL, collapsed INTEGER NOT NULL DEFAULT "
        "0, text NOT NULL DEFAULT ''"
    ),
    "AgLibraryFolderStackImage": (
        "id_local INTEGER PRIMARY KEY, collapsed INTEGER NOT NULL DEFAULT 0, image INTEGER NOT NULL "
        "DEFAULT 0, position NOT NULL DEFAULT '', stack INTEGER NOT NULL DEFAULT 0"
    ),
    "AgLibraryFace": (
        "id_local INTEGER PRIMARY KEY, bl_x, bl_y, br_x, br_y, cluster INTEGER, ignored INTEGER, "
        "image INTEGER NOT NULL DEFAULT 0, imageOrientation NOT NULL DEFAULT '', orientation, "
        "regionType NOT NULL DEFAULT 0, tl_x NOT NULL DEFAULT '', tl_y NOT NULL DEFAULT '', tr_x, "
        "tr_y"
    ),
    "AgLibraryKeywordFace": (
        "id_local INTEGER PRIMARY KEY, face INTEGER NOT NULL DEFAULT 0, tag INTEGER NOT NULL DEFAULT "
        "0, userPick INTEGER, userReject INTEGER"
    ),
    "AgPhotoProperty": (
        "id_local INTEGER PRIMARY KEY, id_global UNIQUE NOT NULL, dataType, internalValue, "
        "photo INTEGER NOT NULL DEFAULT 0, propertySpec INTEGER NOT NULL DEFAULT 0"
    ),
    "AgPhotoPropertySpec": (
        "id_local INTEGER PRIMARY KEY, id_global UNIQUE NOT NULL, flattenedAttributes, "
        "key NOT NULL DEFAULT '', pluginVersion NOT NULL DEFAULT '', sourcePlugin NOT NULL DEFAULT '', "
        "userVisibleName"
    ),
}
_INDEXES = (
    "CREATE INDEX index_AgLibraryKeywordImage_image ON AgLibraryKeywordImage(image, tag)",
    "CREATE INDEX index_AgLibraryCollectionImage_image ON AgLibraryCollectionImage(image, collection)",
    "CREATE INDEX index_AgHarvestedExifMetadata_image ON AgHarvestedExifMetadata(image)",
)
# What older versions do not have yet.
ABSENT = {
    13: (),
    6: (
        "AgInternedIptcIsoCountryCode",
        "AgHarvestedIptcMetadata.isoCountryCodeRef",
        "Adobe_imageDevelopSettings.hasMasks",
        "Adobe_imageDevelopSettings.hasAIMasks",
        "Adobe_imageDevelopSettings.hasRetouch",
    ),
    3: (
        "AgInternedIptcIsoCountryCode",
        "AgHarvestedIptcMetadata.isoCountryCodeRef",
        "Adobe_imageDevelopSettings.hasMasks",
        "Adobe_imageDevelopSettings.hasAIMasks",
        "Adobe_imageDevelopSettings.hasRetouch",
        "AgLibraryFace",
        "AgLibraryKeywordFace",
        "AgLibraryKeyword.keywordType",
        "Adobe_images.touchTime",
        "AgLibraryRootFolder.relativePathFromCatalog",
    ),
}
PACKET = (
    '<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    'xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:crs="http://ns.adobe.com/camera-raw-settings/1.0/" '
    'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
    'crs:Version="13.0" crs:Exposure2012="+0.35">{}'
    "</rdf:Description></rdf:RDF></x:xmpmeta>"
)


def packet(title: str | None = None, people: tuple[str, ...] = (), more: str = "") -> str:
    """An XMP packet as Lightroom keeps it."""
    parts = [re.sub(r"<(catalogd:\w+)>", r'<\1 xmlns:catalogd="https://catalogd.org/ns/1.0/">', more)]
    if title is not None:
        parts.append(f'<dc:title><rdf:Alt><rdf:li xml:lang="x-default">{title}</rdf:li></rdf:Alt></dc:title>')
    if people:
        items = "".join(f"<rdf:li>{name}</rdf:li>" for name in people)
        parts.append(f"<Iptc4xmpExt:PersonInImage><rdf:Bag>{items}</rdf:Bag></Iptc4xmpExt:PersonInImage>")
    return PACKET.format("".join(parts))


def compressed(text: str) -> bytes:
    """As newer versions store a packet."""
    content = text.encode()
    return len(content).to_bytes(4, "big") + zlib.compress(content)


def uuid_of(number: int) -> str:
    """Of the image with this id."""
    return str(uuid.UUID(int=number)).upper()


class LrCatalog:
    """A catalog that is being made; numbers are `id_local`."""

    def __init__(self, file: Path, version: int = 13, wal: bool = False, name: str = "STORE-1") -> None:
        self.file = file
        self.version = version
        self.db = sqlite3.connect(file, isolation_level=None)
        self.db.execute(f"PRAGMA journal_mode={'WAL' if wal else 'DELETE'}")
        self.db.execute("BEGIN")
        self._make_tables()
        self.add("Adobe_variablesTable", name="Adobe_DBVersion", value=f"{version:02d}00014", id_global="v1")
        self.add("Adobe_variablesTable", name="Adobe_storeProviderID", value=name, id_global="v2")
        self.root_keyword = self.add("AgLibraryKeyword", id_global="K-ROOT", name=None, parent=None)
        self.add(
            "Adobe_variablesTable",
            name="AgLibraryKeyword_rootTagID",
            value=f"{self.root_keyword}.0",
            id_global="v3",
        )

    def _make_tables(self) -> None:
        absent = ABSENT[self.version]
        for table, columns in _TABLES.items():
            if table not in absent:
                self.db.execute(f"CREATE TABLE {table}({columns})")
        for name in absent:
            table, _, column = name.partition(".")
            if column:
                self.db.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        for index in _INDEXES:
            self.db.execute(index)

    def add(self, table: str, **values: Any) -> int:
        """A row; columns that this version does not have are left out. Returns its number."""
        there = {row[1] for row in self.db.execute(f"PRAGMA table_info({table})")}
        known = {name: value for name, value in values.items() if name in there}
        if not there:
            return 0
        marks = ", ".join("?" * len(known))
        cursor = self.db.execute(
            f"INSERT INTO {table}({', '.join(known)}) VALUES ({marks})", tuple(known.values())
        )
        return cursor.lastrowid or 0

    def root(self, path: str, relative: str | None = None) -> int:
        name = path.rstrip("/").rpartition("/")[2]
        return self.add(
            "AgLibraryRootFolder",
            id_global=f"R{path}",
            absolutePath=path,
            name=name,
            relativePathFromCatalog=relative,
        )

    def folder(self, root: int, path: str = "") -> int:
        return self.add("AgLibraryFolder", id_global=f"F{root}{path}", pathFromRoot=path, rootFolder=root)

    def photo(self, folder: int, name: str, **values: Any) -> int:
        """An image and its file. `xmp`, `caption`, `gps`, `keywords` … go where they belong."""
        base, _, extension = name.rpartition(".")
        file = self.add(
            "AgLibraryFile",
            id_global=f"FILE{folder}{name}",
            baseName=base,
            extension=extension,
            idx_filename=name,
            folder=folder,
            originalFilename=name,
        )
        return self.image(file, **values)

    def copy(self, master: int, name: str, **values: Any) -> int:
        """A virtual copy."""
        file = self.db.execute("SELECT rootFile FROM Adobe_images WHERE id_local = ?", (master,)).fetchone()[
            0
        ]
        return self.image(file, masterImage=master, copyName=name, **values)

    def image(self, file: int, **values: Any) -> int:
        beside = {
            name: values.pop(name)
            for name in ("xmp", "caption", "gps", "keywords", "place")
            if name in values
        }
        number = self.db.execute("SELECT coalesce(max(id_local), 0) + 1 FROM Adobe_images").fetchone()[0]
        given = {
            "fileFormat": "JPG",
            "fileWidth": 6000.0,
            "fileHeight": 4000.0,
            "pick": 0.0,
            "orientation": "AB",
        }
        self.add(
            "Adobe_images", id_local=number, id_global=uuid_of(number), rootFile=file, **{**given, **values}
        )
        if "xmp" in beside:
            self.add("Adobe_AdditionalMetadata", id_global=f"M{number}", image=number, xmp=beside["xmp"])
        if "caption" in beside:
            self.add("AgLibraryIPTC", image=number, caption=beside["caption"])
        if "gps" in beside:
            latitude, longitude = beside["gps"]
            self.add(
                "AgHarvestedExifMetadata",
                image=number,
                gpsLatitude=latitude,
                gpsLongitude=longitude,
                hasGPS=1.0,
            )
        if "place" in beside:
            self.place(number, **beside["place"])
        for keyword in beside.get("keywords", ()):
            self.add("AgLibraryKeywordImage", image=number, tag=keyword)
        return number

    def place(self, image: int, **names: str) -> None:
        """`city`, `state`, `country`, `location`, `isoCountryCode`."""
        refs = {}
        for part, value in names.items():
            table = f"AgInternedIptc{part[0].upper()}{part[1:]}"
            refs[f"{part}Ref"] = self.add(table, value=value)
        self.add("AgHarvestedIptcMetadata", image=image, **refs)

    def keyword(
        self,
        name: str,
        parent: int | None = None,
        synonyms: tuple[str, ...] = (),
        person: bool = False,
        exported: bool = True,
    ) -> int:
        number = self.add(
            "AgLibraryKeyword",
            id_global=f"K{name}{parent}",
            name=name,
            lc_name=name.lower(),
            parent=self.root_keyword if parent is None else parent,
            keywordType="person" if person else None,
            includeOnExport=1.0 if exported else 0.0,
        )
        for synonym in synonyms:
            self.add("AgLibraryKeywordSynonym", keyword=number, name=synonym, lc_name=synonym.lower())
        return number

    def collection(
        self,
        name: str,
        parent: int | None = None,
        images: tuple[int, ...] = (),
        kind: str = "collection",
        system: object = "",
    ) -> int:
        number = self.add(
            "AgLibraryCollection",
            name=name,
            parent=parent,
            creationId=kind if "." in kind else f"com.adobe.ag.library.{kind}",
            systemOnly=system,
        )
        for position, image in enumerate(images):
            self.add(
                "AgLibraryCollectionImage",
                collection=number,
                image=image,
                positionInCollection=f"{position:04d}",
            )
        return number

    def smart(self, name: str, rules: str, parent: int | None = None) -> int:
        number = self.collection(name, parent, kind="smart_collection")
        self.add(
            "AgLibraryCollectionContent",
            collection=number,
            content=rules,
            owningModule="ag.library.smart_collection",
        )
        return number

    def face(
        self, image: int, keyword: int | None, box: tuple[float, float, float, float], pick: int | None = 1
    ) -> int:
        x, y, width, height = box
        right, bottom = x + width, y + height
        corners = {
            "tl_x": x,
            "tl_y": y,
            "tr_x": right,
            "tr_y": y,
            "bl_x": x,
            "bl_y": bottom,
            "br_x": right,
            "br_y": bottom,
        }
        face = self.add(
            "AgLibraryFace", image=image, regionType=1.0, orientation="AB", imageOrientation="AB", **corners
        )
        if keyword is not None:
            self.add("AgLibraryKeywordFace", face=face, tag=keyword, userPick=pick)
        return face

    def note(self, image: int, written: str, plugin: str = "org.catalogd.lightroom") -> None:
        """What a plugin keeps in its field "written" of a photo."""
        spec = self.add(
            "AgPhotoPropertySpec", id_global=f"S{image}{plugin}", key="written", sourcePlugin=plugin
        )
        self.add(
            "AgPhotoProperty",
            id_global=f"P{image}{plugin}",
            photo=image,
            propertySpec=spec,
            internalValue=written,
        )

    def stack(self, *images: int) -> str:
        stack = self.add("AgLibraryFolderStack", id_global=f"STACK{images[0]}")
        for position, image in enumerate(images, 1):
            self.add("AgLibraryFolderStackImage", stack=stack, image=image, position=float(position))
        return f"STACK{images[0]}"

    def close(self) -> Path:
        """Everything is on the disk, and nobody has it open."""
        self.commit()
        self.db.close()
        return self.file

    def commit(self) -> None:
        if self.db.in_transaction:
            self.db.execute("COMMIT")
