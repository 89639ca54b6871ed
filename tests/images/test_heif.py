"""HEIF and AVIF, each test with FFmpeg and with libheif and libavif alone."""

from __future__ import annotations

import dataclasses
import functools
import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from catalogd.errors import TooLargeError, UnreadableError, UnsupportedError
from catalogd.images import Reading, colour, planes, read_frame
from catalogd.images.heif import decode_heif
from catalogd.images.source import Source
from catalogd.settings import Settings
from tests import factory
from tests.factory import HeifItem, auxiliary, coded_item, grid_item, heif_bytes, size_property

EDGE_PX = 320
LIMITS = Settings(frame_edge_px=EDGE_PX)
SCENE = factory.scene(240, 320)
GREEN = (10, 200, 10)
GAIN_MAP = b"urn:com:apple:photo:2020:aux:hdrgainmap"
DEPTH = b"urn:mpeg:hevc:2015:auxid:2"


@pytest.fixture(params=["ffmpeg", "libraries"])
def decoder(request, monkeypatch):
    """Which of the two ways pictures are decoded; FFmpeg must be there, as the test extra says."""
    if request.param == "libraries":
        monkeypatch.setattr(planes, "ffmpeg", lambda: None)
    else:
        assert planes.ffmpeg() is not None
    return request.param


def read(content: bytes, tmp_path: Path, limits: Settings = LIMITS) -> tuple[Reading, np.ndarray]:
    path = tmp_path / "photo.heic"
    path.write_bytes(content)
    slot = np.zeros(limits.frame_edge_px**2 * 3, np.uint8)
    reading = read_frame(bytes(path), slot, limits)
    return reading, slot[: reading.height * reading.width * 3].reshape(reading.height, reading.width, 3)


def decibels(one: np.ndarray, other: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / max(np.mean((one.astype(float) - other) ** 2), 1e-9)))


def flat(level: int | tuple[int, ...], height: int = 64, width: int = 96) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


def avif_bytes(pixels: np.ndarray, **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "AVIF", **{"quality": 90, "speed": 10, **options})
    return file.getvalue()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("write", [factory.write_heic, factory.write_avif])
def test_a_picture_is_turned_once_by_its_own_properties(decoder, write, orientation, tmp_path):
    """The orientation in its EXIF says the same and is not applied again."""
    upright = factory.scene(96, 128)
    content = Path(
        write(tmp_path / "p", factory.stored(upright, orientation), orientation).decode()
    ).read_bytes()
    reading, frame = read(content, tmp_path)
    assert frame.shape == upright.shape
    assert decibels(frame, upright) > 25
    assert (reading.facts.height, reading.facts.width, reading.facts.orientation) == (96, 128, 1)
    assert reading.facts.camera == "NIKON Z 6_2"


def test_the_orientation_of_exif_alone_turns_nothing(decoder, tmp_path):
    upright = factory.scene(96, 128)
    exif = struct.pack(">I", 0) + factory.exif_block(6)
    described = HeifItem(b"Exif", exif, references={b"cdsc": [1]})
    reading, frame = read(heif_bytes(coded_item(upright), described), tmp_path)
    assert decibels(frame, upright) > 25
    assert reading.facts.iso == 640


@pytest.mark.parametrize("shape", [(200, 300), (201, 299), (128, 256), (65, 257)])
def test_a_grid_of_tiles_is_one_picture(decoder, shape, tmp_path):
    pixels = factory.scene(*shape)
    reading, frame = read(factory.heic_bytes(pixels, tile_size=64), tmp_path)
    assert frame.shape == pixels.shape
    assert decibels(frame, pixels) > 28
    assert (reading.facts.height, reading.facts.width) == shape


@pytest.mark.parametrize(("tile_size", "chroma"), [(0, 420), (256, 420), (256, 444)])
def test_both_ways_give_the_same_frame(tile_size, chroma, tmp_path, monkeypatch):
    content = factory.heic_bytes(factory.scene(701, 1003), tile_size=tile_size, chroma=chroma, quality=70)
    _, by_ffmpeg = read(content, tmp_path)
    monkeypatch.setattr(planes, "ffmpeg", lambda: None)
    _, by_libheif = read(content, tmp_path)
    assert decibels(by_ffmpeg, by_libheif) > 45


@pytest.mark.parametrize("twelve", [False, True])
def test_ten_and_twelve_bits_become_eight(decoder, twelve, tmp_path, monkeypatch):
    monkeypatch.setattr("pillow_heif.options.SAVE_HDR_TO_12_BIT", twelve)
    deep = factory.scene(96, 128).astype(np.uint16) * 257
    content = factory.heic_bytes(deep, mode="RGB;16", chroma=444)
    _, frame = read(content, tmp_path)
    assert decibels(frame, deep // 257) > 32


def test_transparent_parts_are_over_white(decoder, tmp_path):
    pixels = np.dstack([flat((200, 30, 30)), np.full((64, 96), 255, np.uint8)])
    pixels[:, :48, 3] = 0
    _, frame = read(factory.heic_bytes(pixels, mode="RGBA"), tmp_path)
    assert np.abs(frame[:, :40].astype(int) - 255).max() <= 3
    assert np.abs(frame[:, 56:].astype(int) - (200, 30, 30)).max() <= 6


def test_premultiplied_colours_are_over_white_once(decoder, tmp_path):
    half = np.dstack([flat((100, 15, 15)), np.full((64, 96), 128, np.uint8)])
    _, frame = read(factory.heic_bytes(half, mode="RGBa"), tmp_path)
    assert np.abs(frame.astype(int) - (227, 142, 142)).max() <= 6


@pytest.mark.parametrize("content", [lambda p: factory.heic_bytes(p, mode="L"), avif_bytes])
def test_gray_pictures_become_rgb(decoder, content, tmp_path):
    gray = factory.scene(97, 131)[:, :, 1]
    _, frame = read(content(gray), tmp_path)
    assert decibels(frame, gray[:, :, None]) > 34
    assert (np.ptp(frame, axis=2) == 0).all()


@pytest.mark.parametrize("mode", ["L;16", "LA;16"])
def test_deep_gray_pictures_become_eight_bits(decoder, mode, tmp_path):
    gray = factory.scene(96, 128)[:, :, 1]
    deep = gray.astype(np.uint16) * 257
    channels = deep if mode == "L;16" else np.dstack([deep, np.full_like(deep, 65535)])
    _, frame = read(factory.heic_bytes(channels, mode=mode), tmp_path)
    assert decibels(frame, gray[:, :, None]) > 32


def clean_aperture(height: int, width: int, down: int, right: int) -> tuple[bytes, bytes]:
    return b"clap", struct.pack(">IIIIiIiI", width, 1, height, 1, right, 1, down, 1)


def test_only_the_clean_aperture_is_shown(decoder, tmp_path):
    item = coded_item(SCENE)
    item.properties.append(clean_aperture(120, 160, -30, 20))
    reading, frame = read(heif_bytes(item), tmp_path)
    assert (reading.facts.height, reading.facts.width) == (120, 160)
    assert decibels(frame, SCENE[30:150, 100:260]) > 25


def test_the_clean_aperture_of_an_avif_is_cut_before_it_is_turned(decoder, tmp_path):
    content = avif_bytes(SCENE)
    item = item_of(content)
    item.properties += [clean_aperture(120, 160, -30, 20), (b"irot", b"\3")]
    reading, frame = read(heif_bytes(item, brand=b"avif"), tmp_path)
    assert (reading.facts.height, reading.facts.width) == (160, 120)
    assert decibels(frame, np.rot90(SCENE[30:150, 100:260], -1)) > 25


def item_of(content: bytes) -> HeifItem:
    """The primary item of a file, to be put in another."""
    items = factory.Items(content)
    assert items.primary is not None
    return HeifItem(
        items.primary.kind, items.read(items.primary), [tuple(p) for p in items.primary.properties]
    )


@functools.cache
def photo_item() -> HeifItem:
    return coded_item(factory.scene(480, 640))


@functools.cache
def green_content(height: int, width: int) -> bytes:
    return factory.heic_bytes(flat(GREEN, height, width))


def with_thumbnail(thumbnail: HeifItem) -> bytes:
    return heif_bytes(photo_item(), dataclasses.replace(thumbnail, references={b"thmb": [1]}))


def thumbnail_item(height: int = 258, width: int = 344) -> HeifItem:
    return item_of(green_content(height, width))


def test_a_thumbnail_that_covers_the_frame_is_decoded_instead(decoder, tmp_path):
    thumbnail = thumbnail_item()
    content = with_thumbnail(thumbnail)
    reading, frame = read(content, tmp_path)
    assert (reading.facts.path_taken, reading.facts.height, reading.facts.width) == ("preview", 480, 640)
    assert frame.shape == (240, 320, 3)
    assert np.abs(frame.astype(int) - GREEN).max() <= 6


class Counting:
    """A source that counts the bytes it gives, and gives all at once to nobody."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.given = 0

    def __len__(self) -> int:
        return len(self._content)

    def __getitem__(self, place: slice) -> bytes:
        found = self._content[place]
        self.given += len(found)
        return found


def test_a_thumbnail_is_read_without_the_rest_of_the_file():
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    thumbnail = dataclasses.replace(thumbnail_item(), references={b"thmb": [2]})
    source = Counting(heif_bytes(thumbnail, coded_item(noise), primary=2))
    assert decode_heif(source, "heif", LIMITS).path_taken == "preview"
    assert source.given < len(source) / 10


@pytest.mark.parametrize("size", [(150, 200), (256, 256)], ids=["too small", "another shape"])
def test_a_thumbnail_of_the_wrong_size_is_not_used(decoder, size, tmp_path):
    reading, frame = read(with_thumbnail(thumbnail_item(*size)), tmp_path)
    assert reading.facts.path_taken == "full"
    assert frame.std() > 20


def test_a_thumbnail_that_is_turned_otherwise_is_not_used(decoder, tmp_path):
    thumbnail = thumbnail_item()
    thumbnail.properties.append((b"irot", b"\2"))
    assert read(with_thumbnail(thumbnail), tmp_path)[0].facts.path_taken == "full"


def test_a_damaged_thumbnail_gives_way_to_the_photo(decoder, tmp_path):
    thumbnail = thumbnail_item()
    thumbnail.content = bytes(len(thumbnail.content))
    assert read(with_thumbnail(thumbnail), tmp_path)[0].facts.path_taken == "full"


def test_a_picture_coded_as_jpeg_is_read(decoder, tmp_path):
    large = np.kron(SCENE, np.ones((4, 4, 1), np.uint8))
    item = HeifItem(b"jpeg", factory.jpeg_bytes(large), [size_property(960, 1280), (b"irot", b"\1")])
    reading, frame = read(heif_bytes(item, brand=b"mif1"), tmp_path)
    assert decibels(frame, np.rot90(SCENE)) > 25
    assert (reading.facts.height, reading.facts.width) == (1280, 960)


def test_of_many_pictures_the_primary_is_read(decoder, tmp_path):
    burst = [coded_item(flat(level)) for level in (20, 120, 220)]
    for primary, level in ((1, 20), (2, 120), (3, 220)):
        _, frame = read(heif_bytes(*burst, primary=primary), tmp_path)
        assert np.abs(frame.astype(int) - level).max() <= 4


def test_of_a_sequence_the_first_picture_is_read(tmp_path):
    others = [Image.fromarray(flat(level)) for level in (120, 220)]
    content = avif_bytes(flat(20), save_all=True, append_images=others)
    assert content[8:12] == b"avis"
    _, frame = read(content, tmp_path)
    assert np.abs(frame.astype(int) - 20).max() <= 4


@pytest.mark.parametrize(("kind", "marks"), [(GAIN_MAP, ("hdr",)), (DEPTH, ())])
def test_auxiliary_pictures_are_told_of_but_not_shown(decoder, kind, marks, tmp_path):
    helper = auxiliary(coded_item(flat(255)), 2, kind)
    content = heif_bytes(helper, coded_item(flat(90)), primary=2)
    path = tmp_path / "photo.heic"
    path.write_bytes(content)
    with Source(bytes(path), LIMITS.max_file_bytes) as source:
        decoded = decode_heif(source, "heif", LIMITS)
    assert np.abs(decoded.pixels.astype(int) - 90).max() <= 4
    assert decoded.blocks.marks == marks


def test_display_p3_by_number_comes_out_as_srgb(decoder, tmp_path):
    numbers = {"color_primaries": 12, "transfer_characteristics": 13, "matrix_coefficients": 6}
    shown = factory.scene(96, 128)
    content = factory.heic_bytes(shown, chroma=444, **numbers)
    expected = shown.copy()
    colour.convert_to_srgb(expected, colour.profile_named("display-p3"))
    _, frame = read(content, tmp_path)
    assert decibels(frame, expected) > 34 > decibels(frame, shown)


def test_colours_by_number_do_not_outweigh_an_icc_profile(decoder, tmp_path):
    profile = factory.rgb_profile(swap_red_and_green=True)
    content = factory.heic_bytes(flat((200, 40, 40)), chroma=444, icc_profile=profile)
    _, frame = read(content, tmp_path)
    assert frame[30, 30, 1] > frame[30, 30, 0] + 50


@pytest.mark.parametrize("matrix", [1, 6, 9])
@pytest.mark.parametrize("full_range", [0, 1])
def test_every_matrix_and_range_gives_the_colours_back(decoder, matrix, full_range, tmp_path):
    numbers = {"color_primaries": 1, "transfer_characteristics": 13, "full_range_flag": full_range}
    content = factory.heic_bytes(flat((200, 90, 40)), chroma=444, matrix_coefficients=matrix, **numbers)
    _, frame = read(content, tmp_path)
    assert np.abs(frame.astype(int) - (200, 90, 40)).max() <= 4


def test_the_range_of_hdr_is_brought_to_a_display(decoder, tmp_path):
    """Diffuse white, 203 cd/m², is level 148 of PQ: on a display that is a mid-gray."""
    numbers = {"color_primaries": 9, "transfer_characteristics": 16, "matrix_coefficients": 9}
    reading, frame = read(factory.heic_bytes(flat(148), **numbers), tmp_path)
    assert frame.min() > 180
    assert reading.facts.marks == ("hdr",)


def test_exif_and_xmp_of_the_primary_are_handed_on(decoder, tmp_path):
    exif = struct.pack(">I", 6) + b"Exif\0\0" + factory.exif_block()
    wrong = struct.pack(">I", 0) + factory.tiff_block({0x0110: (factory.ASCII, "another")})
    content = heif_bytes(
        HeifItem(b"Exif", wrong, references={b"cdsc": [5]}),
        HeifItem(b"Exif", exif, references={b"cdsc": [4]}),
        HeifItem(b"mime", b"<x:xmpmeta/>", references={b"cdsc": [4]}, mime=b"application/rdf+xml"),
        coded_item(flat(90)),
        coded_item(flat(120)),
        primary=4,
    )
    path = tmp_path / "photo.heic"
    path.write_bytes(content)
    with Source(bytes(path), LIMITS.max_file_bytes) as source:
        blocks = decode_heif(source, "heif", LIMITS).blocks
    assert blocks.xmp == b"<x:xmpmeta/>"
    assert read(content, tmp_path)[0].facts.camera == "NIKON Z 6_2"


@pytest.mark.parametrize("write", [factory.heic_bytes, avif_bytes])
def test_a_declared_size_above_the_limit_is_refused_before_decoding(decoder, write, tmp_path):
    item = item_of(write(flat(90)))
    item.properties = [p for p in item.properties if p[0] != b"ispe"] + [size_property(65535, 65535)]
    with pytest.raises(TooLargeError, match=r"65,535x65,535 .* max_decoded_pixels is 250,000,000"):
        read(heif_bytes(item), tmp_path)


def test_tiles_that_make_more_than_the_picture_are_refused(decoder, tmp_path):
    tile = coded_item(flat(90))
    tile.properties = [p for p in tile.properties if p[0] != b"ispe"] + [size_property(15_000, 15_000)]
    grid = grid_item(2, 2, 64, 96, [2, 2, 2, 2])
    with pytest.raises(TooLargeError, match=r"4 tiles makes 900,000,000 pixels"):
        read(heif_bytes(grid, tile), tmp_path)


@pytest.mark.parametrize(
    "grid",
    [
        grid_item(256, 256, 64, 96, [2]),
        grid_item(1, 1, 6400, 9600, [2]),
        HeifItem(b"grid", b"\0\0\0", [size_property(64, 96)], {b"dimg": [2]}),
    ],
    ids=["too few tiles", "tiles too small", "cut short"],
)
def test_a_grid_that_makes_no_sense_is_unreadable(decoder, grid, tmp_path):
    with pytest.raises(UnreadableError):
        read(heif_bytes(grid, coded_item(flat(90))), tmp_path)


def test_a_picture_that_reaches_beyond_the_file_is_told_with_numbers(decoder, tmp_path):
    item = coded_item(flat(90))
    item.claims = 2 << 30
    with pytest.raises(UnreadableError, match=r"ends early: its picture reaches to byte 2,147,48\d,\d+ of"):
        read(heif_bytes(item), tmp_path)


def test_a_stream_that_declares_more_than_its_item_is_no_bomb(tmp_path):
    """FFmpeg makes room for what a stream says; libheif checks it against the item."""
    item = coded_item(flat(0, 1024, 1024))
    item.properties = [p for p in item.properties if p[0] != b"ispe"] + [size_property(64, 64)]
    items = factory.Items(heif_bytes(item))
    assert items.primary is not None
    assert planes.decode_shrunk(items, items.primary, (64, 64)) is None


@pytest.mark.parametrize("kind", [b"vvc1", b"j2k1", b"abcd"])
def test_a_coding_that_no_library_reads_is_unsupported(decoder, kind, tmp_path):
    item = coded_item(flat(90))
    item.kind = kind
    with pytest.raises(UnsupportedError, match=kind.decode()):
        read(heif_bytes(item), tmp_path)


def test_a_whole_avif_whose_structure_libavif_refuses_is_unsupported(tmp_path):
    """Early encoders left out the size of the alpha plane."""
    alpha = auxiliary(item_of(avif_bytes(SCENE)), 1, b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha")
    alpha.properties = [entry for entry in alpha.properties if entry[0] != b"ispe"]
    with pytest.raises(UnsupportedError, match="libavif does not read"):
        read(heif_bytes(item_of(avif_bytes(SCENE)), alpha, brand=b"avif"), tmp_path)


def test_a_sequence_that_holds_no_still_picture_is_unsupported(tmp_path):
    content = struct.pack(">I4s4sI4s", 20, b"ftyp", b"msf1", 0, b"msf1") + struct.pack(">I4s", 8, b"moov")
    with pytest.raises(UnsupportedError, match="an image sequence without a still picture"):
        read(content, tmp_path)


def test_damaged_pictures_are_unreadable(decoder, tmp_path):
    item = coded_item(SCENE)
    item.content = item.content[:4] + bytes(len(item.content) - 4)
    with pytest.raises(UnreadableError, match="damaged HEIF"):
        read(heif_bytes(item), tmp_path)
    avif = item_of(avif_bytes(SCENE))
    avif.content = bytes(len(avif.content))
    with pytest.raises(UnreadableError, match="damaged AVIF"):
        read(heif_bytes(avif, brand=b"avif"), tmp_path)


@pytest.mark.parametrize("write", [factory.heic_bytes, avif_bytes])
@pytest.mark.parametrize("share", [0.2, 0.6, 0.95])
def test_a_file_that_ends_early_is_unreadable(decoder, write, share, tmp_path):
    content = write(SCENE)
    with pytest.raises(UnreadableError):
        read(content[: int(len(content) * share)], tmp_path)
