"""A small Lightroom catalog in which everything that is read is set on some photo."""

from __future__ import annotations

from pathlib import Path

from tests.sync.lightroom.lrcat import LrCatalog, compressed, packet

RULES = """s = {
	{
		criteria = "rating",
		operation = ">=",
		value = 4,
		value2 = 0,
	},
	combine = "intersect",
}
"""
NOT_SAID = (
    's = { { criteria = "touchTime", operation = "inLast", value = 7, value_units = "days" }, '
    'combine = "intersect" }'
)


def family_catalog(file: Path, photos: str, version: int = 13, wal: bool = False) -> LrCatalog:
    """Photos are in the root folder `photos` ("/…/", "D:/…/"); images 1 to 5, of which 3 is a copy of 2."""
    made = LrCatalog(file, version, wal)
    as_stored = compressed if version > 6 else str
    root = made.root(photos, "../photos/")
    top, norway = made.folder(root), made.folder(root, "2023/Norway/")
    animals = made.keyword("Animals", synonyms=("fauna",))
    dog = made.keyword("Dog", animals, synonyms=("canine", "hound"))
    people = made.keyword("People")
    anna = made.keyword("Anna Núñez", people, person=True)
    ours = made.keyword("tabby cat", made.keyword("catalogd"))
    one = made.photo(
        norway,
        "a.jpg",
        rating=4.0,
        pick=1.0,
        colorLabels="Rot",
        touchTime=700_000_000.5,
        captureTime="2023-06-18T14:30:00",
        xmp=as_stored(packet("On the beach &amp; away", ("Ben Holm",))),
        caption="Anna and the dog",
        gps=(60.3972, 5.3243),
        place={
            "city": "Bergen",
            "state": "Vestland",
            "country": "Norge",
            "location": "Bryggen",
            "isoCountryCode": "NO",
        },
        keywords=(dog, anna, ours),
    )
    two = made.photo(norway, "b.NEF", fileFormat="RAW", rating=None, pick=-1.0, keywords=(animals,))
    made.copy(two, "Copy 1", rating=5.0, xmp=as_stored(packet()))
    made.photo(top, "film.mov", fileFormat="VIDEO", rating=3.0)
    last = made.photo(top, "c d.tif", fileFormat="TIFF")
    made.face(one, anna, (0.25, 0.125, 0.5, 0.25))
    made.face(one, people, (0.0, 0.0, 0.1, 0.1), pick=None)  # only suggested
    made.stack(two, last)
    made.add(
        "Adobe_imageDevelopSettings",
        image=one,
        hasDevelopAdjustments=1.0,
        croppedWidth=3000.0,
        croppedHeight=2000.0,
        grayscale=1,
        hasMasks=1,
        hasRetouch="010",
    )
    made.add(
        "Adobe_imageDevelopSettings",
        image=two,
        hasDevelopAdjustments=0.0,
        croppedWidth=4000,
        croppedHeight=6000,
    )
    travel = made.collection("Travel", kind="group")
    made.collection("Norway/West", travel, (last, one))
    made.collection("Best", images=(one,))
    made.collection("Quick Collection", images=(one,), system=1.0)
    made.collection("New import.unsaved", images=(one,), kind="com.adobe.ag.library.collection.unsaved")
    made.smart("Four stars", RULES, travel)
    made.smart("Edited lately", NOT_SAID)
    made.commit()
    return made
