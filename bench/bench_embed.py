"""What does an embedding cost on a CPU, photo file included? One JSON line a way and size of photo.

    python bench/bench_embed.py [--photos FOLDER]

ViT-B/32 of CLIP in ONNX, its true architecture with random weights, in the layout of a hub. One way is
catalogd's: the reader decodes JPEGs into frames of a ring, a batch of which is resized natively and run at
once. The other is how a command-line search tool does it (rclip, and most examples): one photo at a time is
opened, decoded, resized and cut by Pillow, normalised by NumPy and run. One thread each; CPU time of the
process, so that other work on the machine is not in it. Both give the same vectors: the least cosine of a
photo is told. Random weights give all photos nearly one vector, so what they have in common, the mean vector,
is taken away first: photos that are not the same then have cosines about 0. Photos are a camera's (24 MP) and
made smaller for the web.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from measure import report
from onnx import TensorProto, helper, numpy_helper
from photos import camera_folder
from PIL import Image

from catalogd import images
from catalogd.models.bundles import Bundle, FoundBundle
from catalogd.models.devices import Hardware
from catalogd.models.dual_encoder import DualEncoder
from catalogd.settings import Settings

PHOTOS, ROUNDS, BATCH = 16, 3, 8
SIZE_PX, PATCH_PX, WIDTH, LAYERS, HEADS, DIMENSIONS = 224, 32, 768, 12, 12, 512
PLACES = (SIZE_PX // PATCH_PX) ** 2
MEAN, STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
WEB_SIZE_PX = (1600, 1067)  # of photos that were made smaller for the web

Pixels = np.ndarray


def bench_embed_cpu(settings: Settings, arguments: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = DualEncoder(
            Settings(model_cache=folder / "cache"), vit_b_32(folder / "pair"), Hardware(threads=1)
        )
        model.load()
        session = one_threaded(folder / "pair" / "visual" / "model.onnx")
        camera = photos_of(arguments.photos, folder / "camera")
        for kind, paths in (("camera", camera), ("web", smaller(camera, folder / "web"))):
            compare(kind, paths, settings, model, session)


def compare(kind: str, paths: Sequence[Path], settings: Settings, model: DualEncoder, session: Any) -> None:
    slots = [np.empty(settings.frame_edge_px**2 * 3, np.uint8) for _ in range(BATCH)]

    def by_batches(read: bool = True, run: bool = True) -> list[Any]:
        found: list[Any] = []
        for first in range(0, len(paths), BATCH):
            frames = (
                frames_of(paths[first : first + BATCH], slots, settings)
                if read
                else kept[first : first + BATCH]
            )
            found += model.run(frames) if run else []
        return found

    def one_at_a_time() -> list[Pixels]:
        return [session.run(None, {"image": pixels_by_pillow(path)})[0][0] for path in paths]

    kept = [frame.copy() for path in paths for frame in frames_of([path], slots, settings)]
    ours = np.array([np.frombuffer(output.joint_embedding, "<f2") for output in by_batches()], np.float32)
    theirs = np.array(one_at_a_time())
    theirs /= np.linalg.norm(theirs, axis=1, keepdims=True)
    alike = cosines(ours - theirs.mean(axis=0), theirs - theirs.mean(axis=0))
    ways = {
        "batches": by_batches,
        "batches: reading": lambda: by_batches(run=False),
        "batches: model": lambda: by_batches(read=False),
        "one at a time": one_at_a_time,
        "one at a time: reading": lambda: [pixels_by_pillow(path) for path in paths],
    }
    times = interleaved(ways)
    whole = times["one at a time"] / times["batches"]
    report(
        "embed_cpu",
        photos=kind,
        cpu_ms_per_photo={way: round(s / len(paths) * 1000, 1) for way, s in times.items()},
        ratio=round(whole, 2),
        least_cosine=round(float(alike.diagonal().min()), 5),
        most_of_unlike_photos=round(float((alike - 2 * np.eye(len(alike))).max()), 5),
    )


def cosines(some: Pixels, others: Pixels) -> Pixels:
    """`float32[n, m]` of rows with rows."""
    lengths = [np.linalg.norm(rows, axis=1, keepdims=True) for rows in (some, others)]
    return np.asarray((some / lengths[0]) @ (others / lengths[1]).T)


def interleaved(ways: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Median CPU seconds of each way, one after the other in each round."""
    times: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(ROUNDS):
        for way, work in ways.items():
            started = time.process_time()
            work()
            times[way].append(time.process_time() - started)
    return {way: statistics.median(some) for way, some in times.items()}


def frames_of(paths: Sequence[Path], slots: Sequence[Pixels], settings: Settings) -> list[Pixels]:
    """The photos as frames, read as reader processes do, each into its slot."""
    readings = [
        images.read_frame(bytes(path), slot, settings) for path, slot in zip(paths, slots, strict=False)
    ]
    return [
        slot[: reading.height * reading.width * 3].reshape(reading.height, reading.width, 3)
        for reading, slot in zip(readings, slots, strict=False)
    ]


def pixels_by_pillow(path: Path) -> Pixels:
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    ratio = SIZE_PX / min(image.size)
    image = image.resize((int(image.width * ratio), int(image.height * ratio)), Image.Resampling.BICUBIC)
    left, top = round((image.width - SIZE_PX) / 2), round((image.height - SIZE_PX) / 2)
    levels = np.asarray(image.crop((left, top, left + SIZE_PX, top + SIZE_PX)), np.float32) / 255
    return ((levels - np.float32(MEAN)) / np.float32(STD)).transpose(2, 0, 1)[None]


def photos_of(folder: Path | None, made: Path) -> list[Path]:
    if folder is None:
        return camera_folder(made, PHOTOS)
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))[:PHOTOS]


def smaller(paths: Sequence[Path], folder: Path) -> list[Path]:
    folder.mkdir()
    for path in paths:
        with Image.open(path) as image:
            image.resize(WEB_SIZE_PX, Image.Resampling.LANCZOS).save(folder / path.name, quality=88)
    return sorted(folder.iterdir())


# ---------------------------------------------------------------- the model


def vit_b_32(folder: Path) -> FoundBundle:
    """A folder with the picture tower; of the text tower only what is read before it is opened."""
    for name in ("visual", "textual"):
        (folder / name).mkdir(parents=True)
    preprocess = {
        "size": SIZE_PX,
        "mean": MEAN,
        "std": STD,
        "interpolation": "bicubic",
        "resize_mode": "shortest",
    }
    text = {"context_length": 77, "vocab_size": 49408}
    configs = {
        "config.json": {"embed_dim": DIMENSIONS, "text_cfg": text},
        "visual/preprocess_cfg.json": preprocess,
        "textual/tokenizer_config.json": {},
        "textual/tokenizer.json": {},
        "textual/model.onnx": {},
    }
    for name, config in configs.items():
        (folder / name).write_text(json.dumps(config))
    onnx.save(_Vit().model(), str(folder / "visual" / "model.onnx"))
    bundle = Bundle("vit-b-32-random", "", ("*",), ("visual/model.onnx",), "", True)
    return FoundBundle(bundle, folder, "path")


class _Vit:
    """The nodes of CLIP's vision transformer (Radford et al. 2021; QuickGELU), any batch."""

    def __init__(self) -> None:
        self._random = np.random.default_rng(0)
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def model(self) -> Any:
        x = self._embedded()
        x = self._norm(x)
        for _ in range(LAYERS):
            x = self._node("Add", x, self._attention(self._norm(x)))
            x = self._node("Add", x, self._mlp(self._norm(x)))
        x = self._node("Gather", x, self._whole([0]), axis=1)
        x = self._node("Reshape", x, self._whole([0, WIDTH]))
        x = self._linear(self._norm(x), WIDTH, DIMENSIONS)
        self._node("Identity", x, output="embedding")
        float32 = TensorProto.FLOAT
        graph = helper.make_graph(
            self._nodes,
            "vit-b-32",
            [helper.make_tensor_value_info("image", float32, ["n", 3, SIZE_PX, SIZE_PX])],
            [helper.make_tensor_value_info("embedding", float32, ["n", DIMENSIONS])],
            self._constants,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    def _embedded(self) -> str:
        patches = self._float((WIDTH, 3, PATCH_PX, PATCH_PX), 0.02)
        x = self._node("Conv", "image", patches, strides=[PATCH_PX, PATCH_PX])
        x = self._node("Transpose", self._node("Reshape", x, self._whole([0, WIDTH, PLACES])), perm=[0, 2, 1])
        first = self._node("Shape", x, start=0, end=1)
        shape = self._node("Concat", first, self._whole([1, WIDTH]), axis=0)
        x = self._node("Concat", self._node("Expand", self._float((1, 1, WIDTH), 0.02), shape), x, axis=1)
        return self._node("Add", x, self._float((1, PLACES + 1, WIDTH), 0.02))

    def _attention(self, x: str) -> str:
        split, head = self._whole([0, 0, HEADS, WIDTH // HEADS]), (WIDTH // HEADS) ** -0.5
        queries, keys, values = (
            self._node("Transpose", self._node("Reshape", self._linear(x, WIDTH, WIDTH), split), perm=perm)
            for perm in ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3])
        )
        scores = self._node("Mul", self._node("MatMul", queries, keys), self._constant(np.float32(head)))
        mixed = self._node("MatMul", self._node("Softmax", scores, axis=-1), values)
        mixed = self._node("Transpose", mixed, perm=[0, 2, 1, 3])
        return self._linear(self._node("Reshape", mixed, self._whole([0, 0, WIDTH])), WIDTH, WIDTH)

    def _mlp(self, x: str) -> str:
        x = self._linear(x, WIDTH, 4 * WIDTH)
        gate = self._node("Sigmoid", self._node("Mul", x, self._constant(np.float32(1.702))))
        return self._linear(self._node("Mul", x, gate), 4 * WIDTH, WIDTH)

    def _norm(self, x: str) -> str:
        gain, bias = self._constant(np.ones(WIDTH, np.float32)), self._constant(np.zeros(WIDTH, np.float32))
        return self._node("LayerNormalization", x, gain, bias, axis=-1, epsilon=1e-5)

    def _linear(self, x: str, given: int, made: int) -> str:
        product = self._node("MatMul", x, self._float((given, made), given**-0.5))
        return self._node("Add", product, self._float((made,), 0.02))

    def _float(self, shape: tuple[int, ...], scale: float) -> str:
        return self._constant(self._random.normal(scale=scale, size=shape).astype(np.float32))

    def _whole(self, values: list[int]) -> str:
        return self._constant(np.array(values, np.int64))

    def _constant(self, value: Any) -> str:
        self._constants.append(numpy_helper.from_array(np.asarray(value), f"c{len(self._constants)}"))
        return str(self._constants[-1].name)

    def _node(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        output = output or f"t{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output


def one_threaded(path: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--photos", type=Path, help="a folder of JPEGs instead of made ones")
    bench_embed_cpu(Settings(), parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
