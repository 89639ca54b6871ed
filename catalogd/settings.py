"""One frozen `Settings`, built once in `cli.py` and passed down.

Each setting has a name, a unit (in its name), a default and a reason. Values come from the TOML
file, then `CATALOGD_*` variables, then flags; the later wins. docs/settings.md is generated from
here.
"""

from __future__ import annotations

import dataclasses
import math
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import platformdirs

from catalogd.errors import SettingsError

MiB = 1 << 20
GiB = 1 << 30


def _setting(
    default: Any,
    reason: str,
    least: float | None = None,
    most: float = math.inf,
    choices: tuple[str, ...] = (),
) -> Any:
    """Limits hold for what a person sets; every number has a `least`. `Settings(...)` checks nothing."""
    limits = {"least": least, "most": most, "choices": choices}
    return dataclasses.field(default=default, metadata={"reason": reason, **limits})


@dataclasses.dataclass(frozen=True)
class Settings:
    """Everything that can be set; see each field's reason."""

    catalog: Path = _setting(
        Path(platformdirs.user_data_dir("catalogd", appauthor=False)),
        "where the catalog lives: the platform's place for a user's data",
    )
    model_cache: Path = _setting(
        Path(platformdirs.user_cache_dir("catalogd", appauthor=False)) / "models",
        "converted weights; made again when deleted",
    )
    model_path: Path | None = _setting(
        None, "a folder of weights looked into after installed packages and before a hub"
    )
    profile: str = _setting(
        "",
        "the set of models; empty: what `catalogd models use` chose, else starter, which needs no download",
    )
    devices: str = _setting(
        "auto", "where models run: auto (every GPU, else the CPU), cpu, or numbers of GPUs: 0,1"
    )
    precision: str = _setting(
        "auto",
        "of models on a GPU: auto takes bf16, or fp16 where the card has no bf16; on a CPU always fp32",
        choices=("auto", "bf16", "fp16", "fp32"),
    )
    gate_recall: float = _setting(
        0.99,
        "least share of findings that a gate may keep while it saves work; 1 runs every model on every photo",
        least=0,
        most=1,
    )
    questions: Path | None = _setting(
        None, "a file of questions, one a line, that captioning models answer for every photo"
    )
    object_prompts: Path | None = _setting(
        None, "a file of words, one a line, that zero-shot detectors look for; None: the 80 COCO classes"
    )
    tag_vocabulary: Path | None = _setting(
        None, "a file of tags, one a line, for zero-shot tagging; None: the one that comes along"
    )
    caption_server: str = _setting(
        "",
        "URL of a server that writes captions; photos leave this process for it; empty: none",
    )
    caption_server_kind: str = _setting(
        "openai",
        "the API of the caption server: openai (Ollama, LM Studio, vLLM, too), anthropic or google",
        choices=("openai", "anthropic", "google"),
    )
    caption_server_model: str = _setting("", "the model that the caption server runs, by its name there")
    caption_price_in: float = _setting(
        0.0, "USD for a million tokens that the caption server reads; 0: no money is counted", least=0
    )
    caption_price_out: float = _setting(
        0.0, "USD for a million tokens that the caption server writes", least=0
    )
    caption_photo_budget: float = _setting(
        0.01, "most USD that the caption of one photo costs, questions and retries included", least=0
    )
    caption_run_budget: float = _setting(
        10.0, "most USD that the captions of one run cost; photos beyond it wait for the next one", least=0
    )
    caption_edge_px: int = _setting(
        768, "long edge of the picture that the caption server gets: servers scale larger ones down", least=64
    )
    readers: int = _setting(0, "reader processes; 0 chooses one a core", least=0)
    batch: int = _setting(
        0,
        "frames a batch; 0 chooses 8 on a CPU, where nothing is gained above (bench/README.md), 32 on a GPU",
        least=0,
    )
    batch_wait_s: float = _setting(0.02, "how long a batch that is not full waits for more frames", least=0)
    inference_threads: int = _setting(
        0,
        "jobs at a time, each one model on two frames, in one thread; 0 runs one a core",
        least=0,
    )
    frame_edge_px: int = _setting(
        1280,
        "long edge of a frame: what text in a picture needs; the other models need less",
        least=64,
    )
    ring_bytes: int = _setting(256 * MiB, "most memory for frames; less when /dev/shm is smaller", least=MiB)
    read_deadline_s: float = _setting(
        30.0, "a photo that takes longer is a failure: slowest honest files need 18 s", least=0.1
    )
    exiftool: Path | None = _setting(
        None, "the exiftool program; None takes the one on the path, else the copy of the extra exiftool"
    )
    exiftool_deadline_s: float = _setting(
        5.0, "a photo that takes exiftool longer keeps the facts it has: honest ones take 10 ms", least=0.1
    )
    infer_deadline_s: float = _setting(
        120.0,
        "a batch that takes longer restarts inference: a full batch with much text needs 20 s",
        least=0.1,
    )
    write_deadline_s: float = _setting(
        600.0,
        "a commit that takes longer replaces the writer: a sleeping or failing disk takes minutes",
        least=0.1,
    )
    max_file_bytes: int = _setting(2 * GiB, "larger files are refused: no camera writes one", least=1)
    max_decoded_pixels: int = _setting(
        250_000_000,
        "refused by what decoding would produce: above the largest phone (200 MP)",
        least=1,
    )
    reader_memory_bytes: int = _setting(
        3 * GiB,
        "address space of a reader beside the ring: 250 MP of RGB take 0.8 GB, decoders three times that",
        least=512 * MiB,  # the interpreter and the decoders take 200 before they decode
    )
    commit_records: int = _setting(
        1000, "most records a commit: durable commits cost 3 µs a record at this size", least=1
    )
    commit_wait_s: float = _setting(1.0, "the longest a finished photo waits for its commit", least=0)
    text_commit_records: int = _setting(
        10_000, "most records a text index commit: smaller ones cost twice the CPU", least=1
    )
    text_commit_wait_s: float = _setting(
        3.0, "the longest a committed photo waits to be found by words", least=0
    )
    text_heap_bytes: int = _setting(
        50 * MiB,
        "memory of the text index writer: more gains nothing",
        least=15_000_000,  # below it Tantivy makes no writer
    )
    exact_below: int = _setting(
        50_000,
        "embeddings that are searched exactly, without a generation: 2 to 4 ms (bench_vectors.py)",
        least=0,
    )
    vector_engine: str = _setting(
        "auto",
        "annoy, faiss (extra faiss) or auto: faiss where it is installed, better at every size measured",
        choices=("auto", "annoy", "faiss"),
    )
    weight_words: float = _setting(
        1.5, "of words in the order of hits, beside weight_meaning: bench_quality.py found it best", least=0
    )
    weight_meaning: float = _setting(
        1.0, "of meaning in the order of hits; 0 leaves the order to words", least=0
    )
    missing_days: float = _setting(
        30.0, "how long what is known of a photo whose file is gone is kept for its return", least=0
    )
    thumbnails: bool = _setting(
        True, "whether a run keeps a thumbnail of each photo: 4 % more CPU for reading a 24-MP JPEG"
    )
    thumbnail_edge_px: int = _setting(
        512, "long edge of a thumbnail, at most frame_edge_px: sharp on a grid of dense screens", least=32
    )
    thumbnail_format: str = _setting(
        "jpeg",
        "jpeg or webp: at equal SSIM WebP takes 25 % less disk and 15 times the CPU (bench_thumbnails.py)",
        choices=("jpeg", "webp"),
    )
    thumbnail_quality: int = _setting(
        80,
        "of the encoder, 1 to 100: SSIM 0.97 at 33 KiB a thumbnail (bench_thumbnails.py)",
        least=1,
        most=100,
    )
    thumbnail_store_bytes: int = _setting(
        20 * GiB,
        "bound of the thumbnails, oldest used go first: 500,000 of the default kind take 16 GiB",
        least=256 * MiB,  # each of 256 folders then has room for thirty
    )
    burst_gap_s: float = _setting(
        2.0, "the longest between two pictures of a burst: slow cameras write one in a second", least=0
    )
    burst_similarity: float = _setting(
        0.7,
        "least cosine of two pictures of a burst: 99.9 % of unrelated pairs are below (bench_timeline.py)",
        least=0,
        most=1,
    )
    session_gap_s: float = _setting(
        6 * 3600.0,
        "a longer time without a picture begins a new session: a night does, a meal does not",
        least=0,
    )
    session_distance_km: float = _setting(
        50.0, "a longer way between two pictures, with an hour's pause, begins a new session", least=0
    )
    trip_distance_km: float = _setting(
        100.0, "farther than that from home is a trip: farther than people go to work", least=0
    )
    keyword_vocabulary: Path | None = _setting(
        None, "a file that maps, renames, translates and blocks keywords: docs/keywords.md"
    )
    keyword_min_score: float = _setting(
        0.5, "a tag with a lower score is no keyword: it is likelier wrong than right", least=0, most=1
    )
    keyword_parent: str = _setting(
        "catalogd", 'the keyword above those of models, so that they can be told apart; "" for none'
    )
    keyword_people: str = _setting(
        "People", 'the keyword above the names of people; "" writes no keywords of people'
    )
    keyword_places: str = _setting(
        "Places", 'the keyword above country, region and city; "" writes no keywords of places'
    )
    keyword_case: str = _setting(
        "keep",
        "keep, lower or capital (the first letter): of tags that the vocabulary does not name",
        choices=("keep", "lower", "capital"),
    )
    keywords_most: int = _setting(
        10, "most tags of a photo that become keywords: more than a person reads", least=0
    )
    follow_symlinks: bool = _setting(False, "whether the scan enters folders through symbolic links")
    http: bool = _setting(True, "whether a run that watches serves the HTTP API")
    http_host: str = _setting(
        "127.0.0.1", "the address of the HTTP API; one that others reach needs TLS: docs/security.md"
    )
    http_port: int = _setting(8766, "of the HTTP API; 0 takes any that is free", least=0, most=65_535)
    http_token_file: Path | None = _setting(
        None,
        "where the token of the HTTP API is kept, for its owner's eyes; None: `api.token` in the catalog",
    )
    http_tls_cert: Path | None = _setting(
        None, "a certificate (PEM, with those that signed it): the HTTP API speaks TLS; needs http_tls_key"
    )
    http_tls_key: Path | None = _setting(None, "the key of http_tls_cert (PEM, without a password)")
    http_insecure: bool = _setting(
        False, "whether other machines may be served without TLS: the token then travels in the clear"
    )
    http_allowed_hosts: str = _setting(
        "", "names by which clients may call the HTTP API, with commas between; loopback's are always allowed"
    )
    http_originals: bool = _setting(False, "whether the HTTP API hands out the files of photos themselves")
    http_upload_bytes: int = _setting(
        64 * MiB, "the largest picture that a client may send: above what cameras write as JPEG", least=1024
    )


def _fields() -> dict[str, dataclasses.Field[Any]]:
    return {field.name: field for field in dataclasses.fields(Settings)}


def default_settings_file() -> Path:
    """Where the settings file is looked for: `catalogd.toml` in the platform's config folder."""
    return Path(platformdirs.user_config_dir("catalogd", appauthor=False)) / "catalogd.toml"


def load_settings(
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
) -> Settings:
    """Build the settings; each error names the file, variable or flag it comes from.

    Flags that are None were not given. A missing default file is fine, a missing `file` is not.
    """
    values: dict[str, Any] = {}
    values.update(_from_file(file))
    values.update(_from_environment(os.environ if environment is None else environment))
    for name, value in (flags or {}).items():
        if value is not None:
            values[name] = _convert(name, value, f"--{name.replace('_', '-')}")
    return Settings(**values)


def _from_file(file: Path | None) -> dict[str, Any]:
    path = file or default_settings_file()
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        if file is None:
            return {}
        raise SettingsError(f"{path}: there is no such settings file") from None
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from None
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: {error}") from None
    return {name: _convert(name, value, f"{path}: {name}") for name, value in table.items()}


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    values = {}
    for name in _fields():
        variable = f"CATALOGD_{name.upper()}"
        if variable in environment:
            values[name] = _convert(name, environment[variable], variable)
    return values


def _convert(name: str, value: Any, place: str) -> Any:
    fields = _fields()
    if name not in fields:
        known = ", ".join(sorted(fields))
        raise SettingsError(f"{place}: there is no such setting; there are: {known}")
    kind = str(fields[name].type)
    try:
        if kind.startswith("Path"):
            return Path(str(value)).expanduser()
        plain: Any = {"int": int, "float": float, "bool": bool, "str": str}[kind]
        converted = msgspec.convert(value, plain, strict=False)
    except (msgspec.ValidationError, ValueError) as error:
        raise SettingsError(f"{place}: {error} (got {value!r})") from None
    least, most, choices = (fields[name].metadata[limit] for limit in ("least", "most", "choices"))
    if least is not None and not (math.isfinite(converted) and converted >= least):
        raise SettingsError(f"{place}: must be a number that is at least {least:,} (got {value!r})")
    if least is not None and converted > most:
        raise SettingsError(f"{place}: must be a number that is at most {most:,} (got {value!r})")
    if choices and converted not in choices:
        raise SettingsError(f"{place}: must be one of {', '.join(choices)} (got {value!r})")
    return converted


def describe_settings() -> list[tuple[str, str, str, str]]:
    """Every setting as (name, type, default, reason), for docs/settings.md and `--help`."""
    rows = []
    for field in dataclasses.fields(Settings):
        default = str(field.default).replace(str(Path.home()), "~")
        if field.name.endswith("_bytes"):
            default += f" ({int(default) // MiB:,} MiB)"
        kind, least = str(field.type), field.metadata["least"]
        if least is not None:
            kind += f", at least {least:,}"
        if field.metadata["most"] < math.inf:
            kind += f", at most {field.metadata['most']:,}"
        if choices := field.metadata["choices"]:
            kind = " or ".join(choices)
        rows.append((field.name, kind, default, str(field.metadata["reason"])))
    return rows
