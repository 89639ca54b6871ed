"""Are looks quicker from a half-size copy of the frame, and do models then see the same?

    python bench/bench_looks.py                     scikit-image's photos
    python bench/bench_looks.py --photos FOLDER

A row a filter: CPU ms of two looks made from a 1280x853 frame, of the half and of the two made from it; and
how far what is seen differs, in levels of 255, the frame itself being right.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from bench_models import cpu_ms, load_frames, report

from catalogd import _native
from catalogd.models.batches import Look, looked_at

EDGES_PX = (224, 384)


def half_of(frame: Any) -> Any:
    """`uint8[H / 2, W / 2, 3]`, by the kernel that makes frames."""
    half = np.empty((frame.shape[0] // 2, frame.shape[1] // 2, 3), np.uint8)
    _native.resize(frame, half)
    return half


def look_ms(frames: list[Any], looks: list[Look]) -> float:
    return cpu_ms(lambda: [looked_at(frame, look) for frame in frames for look in looks])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--photos", type=Path)
    frames = load_frames(parser.parse_args().photos)
    halves = [half_of(frame) for frame in frames]
    for filter in ("area", "bilinear", "bicubic"):
        looks = [Look((edge, edge), scale=(1, 1, 1), fit="squash", filter=filter) for edge in EDGES_PX]
        direct, by_half = look_ms(frames, looks), look_ms(halves, looks)
        half = cpu_ms(lambda: [half_of(frame) for frame in frames])
        off = [
            np.abs(looked_at(frame, look) - looked_at(small, look))
            for frame, small in zip(frames, halves, strict=True)
            for look in looks
        ]
        report(
            "looks from a half",
            filter=filter,
            direct_ms=round(direct / len(frames), 2),
            half_ms=round(half / len(frames), 2),
            looks_from_half_ms=round(by_half / len(frames), 2),
            ratio=round((half + by_half) / direct, 2),
            mean_levels_off=round(float(np.mean([values.mean() for values in off])), 3),
            most_levels_off=round(float(max(values.max() for values in off)), 1),
        )


if __name__ == "__main__":
    main()
