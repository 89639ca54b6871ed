"""The colours of a photo to sRGB, on the pixels of its frame.

A colour space is an ICC profile here, always: `bytes`, the file's own or one made by
`profile_named`, `profile_of_codes`, `profile_of_primaries` or `profile_of_exif` for a space that the
file only names. A decoder hands it on as `Decoded.profile`.

::

    profile ─▶ a matrix and curves ─▶ `_native.convert_to_srgb`, ±1 level of what LittleCMS makes
            └▶ tables (A2B), Lab    ─▶ LittleCMS, imported with Pillow when the first one comes

The intent is relative colorimetric with black point compensation; a matrix profile's black is zero
light, so that there is nothing to compensate for.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from catalogd import _native
from catalogd.images import icc
from catalogd.images.frames import Pixels
from catalogd.images.icc import WHITE_D50, WHITE_D65, Chromaticity, Floats
from catalogd.metadata import Content, Tiff

if TYPE_CHECKING:
    from PIL import Image

TRANSFORMS_KEPT = 16  # a library has few profiles; building a transform takes about 10 ms
MAX_PROFILE_BYTES = 8 << 20  # CMYK press profiles have up to about 3 MB; caches keep some of each
SAME_LEVELS = 1  # of 255: a profile that is sRGB under another name differs by rounding only
DARKEST_BLACK = 1e-4  # light of level 0; above it LittleCMS compensates for the black point
MAX_PRIMARY = 4  # XYZ; real primaries have up to about 1, damaged profiles 32,768
MATRIX_TOLERANCE, CURVE_TOLERANCE = 2e-3, 3e-3  # XYZ and light: profiles of one space, differently rounded

REFERENCE_WHITE_NITS = 203  # of diffuse white in PQ and HLG: ITU-R BT.2408
PEAK_NITS = 1000  # of the display that pictures of high range are made for
CURVE_SAMPLES = 4096

BAND_ROWS = 64  # converted at a time: a band of a 20,000-px plane of floats takes 5 MB
LIGHT_STEPS = 1 << 14  # where sRGB is steepest, at black, a step is 0.2 of a level

_EXIF_DIRECTORY, _COLOUR_SPACE, _INTEROPERABILITY, _INTEROPERABILITY_INDEX = 0x8769, 0xA001, 0xA005, 1
_EXIF_SRGB, _EXIF_ADOBE_RGB, _EXIF_UNCALIBRATED = 1, 2, 0xFFFF

Convert = Callable[[Pixels], None]
Primaries = tuple[Chromaticity, Chromaticity, Chromaticity, Chromaticity]  # red, green, blue, white

_REC709: Primaries = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), WHITE_D65)
_REC2020: Primaries = ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), WHITE_D65)
_P3: Primaries = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), WHITE_D65)
_DCI_P3: Primaries = (*_P3[:3], (0.314, 0.351))
_ADOBE: Primaries = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06), WHITE_D65)
_PROPHOTO: Primaries = ((0.734699, 0.265301), (0.159597, 0.840403), (0.036598, 0.000105), WHITE_D50)
_PAL: Primaries = ((0.64, 0.33), (0.29, 0.60), (0.15, 0.06), WHITE_D65)
_NTSC: Primaries = ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), WHITE_D65)

# Curves from level to light: gamma, a, b, c, d of (a x + b)^gamma above d, c x below.
_SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)  # IEC 61966-2-1
_REC709_CURVE = (1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081)  # ITU-R BT.709
_PROPHOTO_CURVE = (1.8, 1.0, 0.0, 1 / 16, 1 / 32)  # ISO 22028-2
_ADOBE_CURVE = (563 / 256,)

_NAMED: dict[str, tuple[Primaries, tuple[float, ...]]] = {
    "srgb": (_REC709, _SRGB_CURVE),
    "display-p3": (_P3, _SRGB_CURVE),
    "adobe-rgb": (_ADOBE, _ADOBE_CURVE),
    "prophoto-rgb": (_PROPHOTO, _PROPHOTO_CURVE),
    "rec2020": (_REC2020, _REC709_CURVE),
}
# ITU-T H.273 tables 2 and 3; 2 is "unspecified".
_PRIMARIES_OF_CODE = {
    1: _REC709,
    2: _REC709,
    5: _PAL,
    6: _NTSC,
    7: _NTSC,
    9: _REC2020,
    11: _DCI_P3,
    12: _P3,
}
_CURVE_OF_CODE = {
    1: _REC709_CURVE,
    2: _SRGB_CURVE,
    4: (2.2,),
    5: (2.8,),
    6: _REC709_CURVE,
    8: (1.0,),
    13: _SRGB_CURVE,
    14: _REC709_CURVE,
    15: _REC709_CURVE,
}
_PQ, _HLG = 16, 18


def convert_to_srgb(frame: Pixels, profile: bytes) -> None:
    """Convert `frame: uint8[H, W, 3]` from `profile` to sRGB, in place.

    A profile that is broken, or of neither RGB nor gray, is ignored, and so is a gray one where the
    frame has colours: the levels are then taken as sRGB.
    """
    if not (_is_gray(profile) and _has_colours(frame)):
        _conversion(profile)(frame)


def is_usable(profile: bytes | None) -> TypeGuard[bytes]:
    """Whether there is a profile, of a size that one has. A decoder's is asked once, in `images`."""
    return profile is not None and 0 < len(profile) <= MAX_PROFILE_BYTES


def profile_named(name: str) -> bytes:
    """The profile of srgb, display-p3, adobe-rgb, prophoto-rgb or rec2020; KeyError for another."""
    primaries, curve = _NAMED[name]
    return _made(name, primaries, icc.parametric_curve(*curve))


@functools.cache
def profile_of_codes(primaries: int, transfer: int) -> bytes | None:
    """The profile of a PNG cICP chunk or of `nclx` colours: code points of ITU-T H.273.

    None when a code is unknown. PQ and HLG are brought to the range of a display: see
    `_tone_mapped`.
    """
    known = _PRIMARIES_OF_CODE.get(primaries)
    if known is None:
        return None
    name = f"H.273 {primaries}/{transfer}"
    if transfer in (_PQ, _HLG):
        nits = _pq_nits if transfer == _PQ else _hlg_nits
        light = _tone_mapped(nits(np.linspace(0, 1, CURVE_SAMPLES)))
        return _made(name, known, icc.sampled_curve(light))
    curve = _CURVE_OF_CODE.get(transfer)
    return _made(name, known, icc.parametric_curve(*curve)) if curve else None


def profile_of_primaries(primaries: Primaries, gamma: float) -> bytes | None:
    """The profile whose light is level ^ `gamma` of `primaries`; None when they make no sense."""
    matrix = icc.primaries_to_xyz(*primaries)
    if matrix is None or np.abs(matrix).max() > MAX_PRIMARY or not 0.1 <= gamma <= 10:
        return None
    return icc.make_matrix_profile(f"gamma {gamma:.3g}", matrix, icc.parametric_curve(gamma))


def profile_of_exif(exif: tuple[Content, ...]) -> bytes | None:
    """The profile that EXIF names (2.32, 4.6.5 and DCF 2.0): sRGB or Adobe RGB; None when neither.

    `exif` is what `metadata.Blocks` holds.
    """
    if not exif:
        return None
    tiff = Tiff(exif[0])
    main = tiff.main()
    detail = Tiff(exif[1]).main() if len(exif) > 1 else tiff.linked(main, _EXIF_DIRECTORY)
    space = detail.number(_COLOUR_SPACE)
    if space == _EXIF_SRGB:
        return profile_named("srgb")
    interoperability = tiff.linked(detail, _INTEROPERABILITY).text(_INTEROPERABILITY_INDEX)
    if space == _EXIF_ADOBE_RGB or (space in (_EXIF_UNCALIBRATED, None) and interoperability == "R03"):
        return profile_named("adobe-rgb")
    return None


@functools.lru_cache(TRANSFORMS_KEPT)
def name_of(profile: bytes) -> str | None:
    """What `Facts.colour_space` says: a name of `profile_named`, "gray", or the profile's own name."""
    if _is_gray(profile):
        return "gray"
    found = icc.read_matrix_profile(profile)
    for name in _NAMED:
        if _is_same(found, icc.read_matrix_profile(profile_named(name))):
            return name
    return icc.description(profile) or icc.data_space(profile).lower() or None


def encode_srgb(light: NDArray[Any]) -> Pixels:
    """The levels, uint8, of linear light of any shape and float type; what is outside 0…1 is clipped.

    Converted in bands of rows: a plane of a large scan is never in memory as floats twice.
    """
    levels = np.empty(light.shape, np.uint8)
    for top in range(0, len(light), BAND_ROWS):
        band = light[top : top + BAND_ROWS].astype(np.float32)
        np.fmin(np.fmax(band, 0, out=band), 1, out=band)  # these take a number before a NaN
        steps = (band * LIGHT_STEPS + 0.5).astype(np.uint16)
        levels[top : top + BAND_ROWS] = np.take(_srgb_levels(), steps)
    return levels


@functools.cache
def _srgb_levels() -> Pixels:
    """The level of each step of light: IEC 61966-2-1."""
    light = np.linspace(0, 1, LIGHT_STEPS + 1)
    levels = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.asarray(np.rint(255 * levels), np.uint8)


def cmyk_to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """A CMYK image as sRGB: by its profile, or by the plain formula where that is absent or broken."""
    transform = _transform(profile, "CMYK") if is_usable(profile) else None
    return _apply(image, transform) if transform is not None else image.convert("RGB")


def lab_to_srgb(image: Image.Image) -> Image.Image:
    """A CIELAB image (D50) as sRGB."""
    return _apply(image, _lab_transform())


@functools.cache
def _made(name: str, primaries: Primaries, curve: bytes) -> bytes:
    matrix = icc.primaries_to_xyz(*primaries)
    assert matrix is not None
    return icc.make_matrix_profile(name, matrix, curve)


def _pq_nits(signal: Floats) -> Floats:
    """SMPTE ST 2084, equation 4.1."""
    root = signal ** (32 / 2523)
    ratio = np.maximum(root - 3424 / 4096, 0) / (2413 / 128 - 2392 / 128 * root)
    return np.asarray(10_000 * ratio ** (8192 / 1305))


def _hlg_nits(signal: Floats) -> Floats:
    """ITU-R BT.2100 table 5 on a display of `PEAK_NITS`, its gamma of 1.2 taken channel by channel."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    return np.asarray(PEAK_NITS * scene**1.2)


def _tone_mapped(nits: Floats) -> Floats:
    """Light 0…1 for a display of ordinary range: dark tones as they are, highlights ever flatter.

    The curve of Reinhard et al. 2002 (equation 4): diffuse white becomes half of the light, which
    is level 188, and `PEAK_NITS` becomes white.
    """
    light, peak = nits / REFERENCE_WHITE_NITS, PEAK_NITS / REFERENCE_WHITE_NITS
    return np.clip(light * (1 + light / peak**2) / (1 + light), 0, 1)


def _is_same(one: icc.MatrixProfile | None, other: icc.MatrixProfile | None) -> bool:
    if one is None or other is None:
        return False
    matrices, curves = np.abs(one.matrix - other.matrix), np.abs(one.curves - other.curves)
    return bool(matrices.max() < MATRIX_TOLERANCE and curves.max() < CURVE_TOLERANCE)


def _is_gray(profile: bytes) -> bool:
    return icc.data_space(profile) == "GRAY"


def _has_colours(frame: Pixels) -> bool:
    return bool((frame != frame[:, :, :1]).any())


def _keep(frame: Pixels) -> None:
    """The conversion of what is sRGB already, or cannot be converted."""


@functools.lru_cache(TRANSFORMS_KEPT)
def _conversion(profile: bytes) -> Convert:
    found = icc.read_matrix_profile(profile)
    if found is not None and np.abs(found.matrix).max() > MAX_PRIMARY:
        return _keep  # damaged: no light has such colours
    convert = _by_matrix(found) or _by_littlecms(profile)
    return _keep if convert is None or _changes_nothing(convert) else convert


def _by_matrix(found: icc.MatrixProfile | None) -> Convert | None:
    if found is None or found.curves[:, 0].max() > DARKEST_BLACK:
        return None
    srgb = icc.primaries_to_xyz(*_REC709)
    assert srgb is not None
    curves = found.curves.astype(np.float32)
    matrix = np.ascontiguousarray(np.linalg.solve(srgb, found.matrix), np.float32)
    return functools.partial(_native.convert_to_srgb, curves=curves, matrix=matrix)


def _by_littlecms(profile: bytes) -> Convert | None:
    mode = {"RGB": "RGB", "GRAY": "L"}.get(icc.data_space(profile), "")
    transform = _transform(profile, mode) if mode else None
    if transform is None:
        return None

    def convert(frame: Pixels) -> None:
        from PIL import Image

        pixels = frame if mode == "RGB" else np.ascontiguousarray(frame[:, :, 0])
        frame[:] = np.asarray(_apply(Image.fromarray(pixels), transform))

    return convert


def _changes_nothing(convert: Convert) -> bool:
    levels = np.linspace(0, 255, 18).astype(np.uint8)
    cube = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
    ramp = np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(1, -1, 3)
    return _largest_change(convert, cube) <= SAME_LEVELS and _largest_change(convert, ramp) <= SAME_LEVELS


def _largest_change(convert: Convert, pixels: Pixels) -> int:
    converted = pixels.copy()
    convert(converted)
    return int(np.abs(converted.astype(int) - pixels).max())


def _apply(image: Image.Image, transform: Any) -> Image.Image:
    from PIL import ImageCms

    converted = ImageCms.applyTransform(image, transform)
    assert converted is not None  # only an in-place conversion returns nothing
    return converted


@functools.lru_cache(TRANSFORMS_KEPT)
def _transform(profile: bytes, mode: str) -> Any | None:
    """LittleCMS's way from `profile` to sRGB for pixels of `mode`; None when it refuses the profile."""
    from PIL import ImageCms

    try:
        return ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(io.BytesIO(profile)),
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None


@functools.cache
def _lab_transform() -> Any:
    from PIL import ImageCms

    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    return ImageCms.buildTransform(lab, srgb, "LAB", "RGB")
