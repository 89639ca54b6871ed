"""What runs have measured of models on a device, kept for the next one: `plans.json` beside the weights.

A file for all catalogs, written whole; of what several processes measure each writes its own alone. When two
write at the same moment, one of them measures again.
"""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from catalogd.models.weights import written_aside

_FILE = "plans.json"
# A smaller batch is forgotten after this: another program may have had the memory at that time.
_BATCH_KEPT_S = 7 * 86400.0


class Measured(msgspec.Struct, frozen=True, omit_defaults=True):
    """Of one model on one device in one precision; 0 is unknown."""

    weights_bytes: int = 0
    frame_bytes: int = 0
    load_s: float = 0.0
    frame_s: float = 0.0
    batch: int = 0  # most frames at once, learned when more of them were out of memory
    batch_at: float = 0.0  # when (seconds since the epoch)


class Measurements:
    """Those of one device, by fingerprint of the model."""

    def __init__(self, model_cache: Path, device: str, precision: str) -> None:
        self._file = model_cache / _FILE
        self._place = f"{device}, {precision}"
        self._news: dict[str, Measured] = {}  # that this process has measured
        self._kept = self._news
        self._known = self._read()

    def __getitem__(self, fingerprint: str) -> Measured:
        return self._known.get(fingerprint, Measured())

    def note(self, fingerprint: str, measured: Measured) -> None:
        if measured != self[fingerprint]:
            self._known = {**self._known, fingerprint: measured}
            self._news = {**self._news, fingerprint: measured}

    def _read(self) -> dict[str, Measured]:
        now = time.time()
        known = _all(self._file).get(self._place, {})
        return {name: _fresh(measured, now) for name, measured in known.items()}

    def write(self) -> None:
        """Keep what is new; a folder that can't be written costs only the next run's measuring."""
        if self._news == self._kept:
            return
        self._kept = self._news
        places = _all(self._file)
        places[self._place] = {**places.get(self._place, {}), **self._news}
        try:
            with written_aside(self._file) as aside:
                aside.write_bytes(msgspec.json.format(msgspec.json.encode(places)))
        except OSError:
            return


def _fresh(measured: Measured, now: float) -> Measured:
    if now - measured.batch_at > _BATCH_KEPT_S:
        return msgspec.structs.replace(measured, batch=0, batch_at=0.0)
    return measured


def _all(file: Path) -> dict[str, dict[str, Measured]]:
    """Place → fingerprint → what was measured; {} when the file is not there or not ours."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=dict[str, dict[str, Measured]])
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return {}
