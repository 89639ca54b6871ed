"""What do the facts of a photo cost, and how much less than by exiftool and Pillow?

    python bench/bench_metadata.py [PHOTO …]

One JSON line a format, or a given photo. `catalogd`: the file is opened, its metadata found and made
into facts (`open_blocks`, `read_facts`); `facts` is the second part alone, which is what a reader pays,
that has the blocks at hand. Baselines in the same run: `exiftool -stay_open -fast2`, one process for
all photos, and Pillow's `getexif` with the directories of EXIF and GPS. CPU of this process and of
exiftool's, mean of the rounds, the candidates taking turns so that a busy machine disturbs all alike.

The photos that are made here hold a camera's metadata (maker note of 30 KB, XMP of a developed photo,
IPTC) and hardly a pixel: where a format does not keep metadata apart, decoding is in the numbers.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import pillow_heif
from measure import report
from PIL import Image, UnidentifiedImageError

from catalogd.images import open_blocks
from catalogd.metadata import read_facts
from catalogd.metadata.exiftool import Exiftool, find_exiftool
from catalogd.settings import Settings
from tests import factory
from tests.factory import ASCII, RATIONAL, SHORT, UNDEFINED

ROUNDS = 100
LIMITS = Settings()
EXIFTOOL_OPTIONS = ("-json", "-n", "-fast2")
NOTE_BYTES = 30_000
TICK_S = 1 / os.sysconf("SC_CLK_TCK")

# A packet of Lightroom's size and shape: a few words and 150 settings of the development.
XMP = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""'
    ' xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/"'
    ' xmlns:crs="http://ns.adobe.com/camera-raw-settings/1.0/" xmp:Rating="4" xmp:Label="Red"'
    + "".join(f' crs:Setting{number}="+{number}"' for number in range(150))
    + "><dc:subject><rdf:Bag><rdf:li>lake</rdf:li><rdf:li>boat</rdf:li></rdf:Bag></dc:subject>"
    "<dc:description><rdf:Alt><rdf:li xml:lang='x-default'>Boats on the lake</rdf:li></rdf:Alt>"
    "</dc:description></rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end='w'?>"
).encode()
IPTC = b"".join(
    b"\x1c\x02" + bytes([number]) + len(value).to_bytes(2, "big") + value
    for number, value in (
        (5, b"Boats"),
        (25, b"lake"),
        (25, b"boat"),
        (80, b"Anna"),
        (120, b"Boats on the lake"),
    )
)


def camera_exif() -> bytes:
    """EXIF of a camera of today, with forty tags and a maker note."""

    def note(at: int) -> bytes:
        entries = {0x0095: (ASCII, "RF50mm F1.2 L USM"), 0x0096: (ASCII, "AB1234567")}
        entries |= {0x4000 + number: (UNDEFINED, bytes(NOTE_BYTES // 60)) for number in range(60)}
        return factory.directory_bytes(entries, at)

    detail = {
        0x829A: (RATIONAL, (1, 250)),
        0x829D: (RATIONAL, (28, 10)),
        0x8827: (SHORT, 640),
        0x9003: (ASCII, "2024:05:01 17:30:15"),
        0x9004: (ASCII, "2024:05:01 17:30:15"),
        0x9011: (ASCII, "+02:00"),
        0x9291: (ASCII, "25"),
        0x920A: (RATIONAL, (50, 1)),
        0xA431: (ASCII, "0123456789"),
        0xA432: (RATIONAL, [(50, 1), (50, 1), (0, 0), (0, 0)]),
        **dict.fromkeys((0x8822, 0x9207, 0x9209, 0xA001, 0xA401, 0xA402, 0xA403, 0xA406), (SHORT, 0)),
    }
    main = {0x0110: (ASCII, "Canon EOS R5"), 0x0112: (SHORT, 1), 0x0132: (ASCII, "2024:05:02 10:00:00")}
    return factory.noted_exif("Canon", note, main, detail)


def made_photos(folder: Path) -> Iterator[tuple[str, Path]]:
    pixels, exif = factory.scene(48, 64), camera_exif()
    resource = b"Photoshop 3.0\x008BIM\x04\x04\0\0" + len(IPTC).to_bytes(4, "big") + IPTC
    segments = ((0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP), (0xED, resource))
    jpeg = folder / "photo.jpg"
    jpeg.write_bytes(factory.jpeg_with(factory.jpeg_bytes(pixels), (0xE1, b"Exif\0\0" + exif), *segments))
    yield "JPEG of a camera: EXIF, maker note, XMP, IPTC", jpeg
    image = Image.fromarray(pixels)
    pillow_heif.from_pillow(image).save(folder / "photo.heic", exif=exif, xmp=XMP)
    yield "HEIC: EXIF, maker note, XMP", folder / "photo.heic"
    image.save(folder / "photo.avif", exif=exif, xmp=XMP, speed=10)
    yield "AVIF: EXIF, maker note, XMP", folder / "photo.avif"
    image.save(folder / "photo.webp", exif=exif, xmp=XMP)
    yield "WebP: EXIF, maker note, XMP", folder / "photo.webp"
    image.save(folder / "photo.png", exif=exif)
    yield "PNG: EXIF, maker note", folder / "photo.png"
    factory.write_tiff(folder / "photo.tif", pixels)
    yield "TIFF of a scanner", folder / "photo.tif"
    factory.write_dng(folder / "photo.dng", pixels, preview=pixels)
    yield "DNG with a preview", folder / "photo.dng"


def by_pillow(path: Path) -> None:
    with Image.open(path) as image:
        exif = image.getexif()
        for directory in (0x8769, 0x8825):
            dict(exif.get_ifd(directory))


def opens_in_pillow(path: Path) -> bool:
    try:
        by_pillow(path)
    except UnidentifiedImageError:
        return False
    return True


def by_catalogd(path: Path) -> None:
    with open_blocks(bytes(path), LIMITS) as blocks:
        read_facts(blocks, bytes(path))


def cpu_of(pid: int) -> float:
    """Seconds of user and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK_S


def own_cpu(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def measure(question: str, path: Path, exiftool: Exiftool) -> None:
    exiftool.read(bytes(path), EXIFTOOL_OPTIONS)
    process = exiftool._process
    assert process is not None
    by_catalogd(path)
    spent = {"catalogd": 0.0, "facts": 0.0}
    if opens_in_pillow(path):
        spent["pillow"] = 0.0
    before = cpu_of(process.pid)
    with open_blocks(bytes(path), LIMITS) as blocks:
        for _ in range(ROUNDS):
            spent["catalogd"] += own_cpu(lambda: by_catalogd(path))
            spent["facts"] += own_cpu(lambda: read_facts(blocks, bytes(path)))
            if "pillow" in spent:
                spent["pillow"] += own_cpu(lambda: by_pillow(path))
            exiftool.read(bytes(path), EXIFTOOL_OPTIONS)
    spent["exiftool"] = cpu_of(process.pid) - before
    mean_ms = {f"{name}_cpu_ms": 1000 * seconds / ROUNDS for name, seconds in spent.items()}
    ratios = {
        f"times_less_than_{name}": spent[name] / spent["catalogd"]
        for name in ("exiftool", "pillow")
        if name in spent
    }
    report(question, **mean_ms, **ratios)


def main() -> None:
    program = find_exiftool(None)
    if program is None:
        sys.exit("exiftool is the baseline: apt install libimage-exiftool-perl")
    pillow_heif.register_heif_opener()  # for the baseline
    exiftool = Exiftool(program, 60.0)
    for photo in sys.argv[1:]:
        measure(Path(photo).name, Path(photo), exiftool)
    if not sys.argv[1:]:
        with tempfile.TemporaryDirectory() as folder:
            for question, path in made_photos(Path(folder)):
                measure(question, path, exiftool)
    exiftool.close()


if __name__ == "__main__":
    main()
