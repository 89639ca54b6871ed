"""Face packs: graphs are told apart, a batch is one run, and faces are those of a plain decoding."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from skimage.transform import SimilarityTransform

from catalogd.errors import ModelError
from catalogd.models import arcface, batches, faces, graphs, scrfd
from catalogd.models.devices import Hardware
from catalogd.models.face_packs import FacePackModel, pack_graphs
from catalogd.records import Output
from catalogd.settings import Settings
from tests.models import tiny_graphs
from tests.models.conftest import Frame, photo

Floats = NDArray[np.float32]
ONE_THREAD = Hardware(threads=1)


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a pack, under names that say nothing."""
    folder = tmp_path_factory.mktemp("pack")
    tiny_graphs.scrfd(folder / "a.onnx")
    tiny_graphs.arcface(folder / "b.onnx")
    tiny_graphs.landmarks(folder / "c.onnx")
    return folder


@pytest.fixture(scope="module")
def model(settings: Settings, pack: Path) -> FacePackModel:
    model = FacePackModel(settings, tiny_graphs.found(pack, "buffalo"), ONE_THREAD)
    model.load()
    return model


@functools.cache
def frames() -> list[Frame]:
    """Three, of which the first is as wide as the detector looks; grainy, so that random weights fire."""
    astronaut = photo("astronaut.png")
    wide = np.concatenate([astronaut, astronaut[:, :128]], axis=1)[:480]
    grain = np.random.default_rng(1)
    return [
        (frame // 2 + grain.integers(0, 128, frame.shape)).astype(np.uint8)
        for frame in (wide, astronaut, photo("chelsea.png")[:, ::-1])
    ]


def embedding_of(face: Any) -> Floats:
    return np.frombuffer(face.embedding, "<f2").astype(np.float32)


def plain_detection(session: Any, pixels: Floats) -> list[tuple[float, list[float], Floats]]:
    """Score, box (edges) and landmarks in px of the input, by loops over one picture's rows.

    SCRFD's definition: a row is an anchor at the corner of a cell, two a cell; distances are in strides.
    """
    outputs = dict(
        zip([o.name for o in session.get_outputs()], session.run(None, {"input.1": pixels}), strict=True)
    )
    candidates = []
    for stride, (scores, boxes, points) in zip(
        (8, 16, 32), (("448", "451", "454"), ("471", "474", "477"), ("494", "497", "500")), strict=True
    ):
        columns = pixels.shape[3] // stride
        for row, score in enumerate(outputs[scores][:, 0]):
            if score < 0.5:
                continue
            x, y = (row // 2) % columns * stride, (row // 2) // columns * stride
            left, top, right, bottom = outputs[boxes][row] * stride
            marks = outputs[points][row].reshape(5, 2) * stride + [x, y]
            candidates.append((float(score), [x - left, y - top, x + right, y + bottom], marks))
    return candidates


def plain_suppression(candidates: list[Any], most: int) -> list[Any]:
    kept: list[Any] = []
    for candidate in sorted(candidates, key=lambda item: -item[0]):
        if len(kept) < most and all(plain_overlap(candidate[1], other[1]) <= 0.4 for other in kept):
            kept.append(candidate)
    return kept


def plain_overlap(a: list[float], b: list[float]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0]) + 1
    height = min(a[3], b[3]) - max(a[1], b[1]) + 1
    shared = max(0.0, width) * max(0.0, height)
    areas = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (a, b)]
    return shared / (sum(areas) - shared)


def test_detections_are_those_of_a_plain_decoding_of_one_picture_at_both_sizes(
    pack: Path, model: FacePackModel
) -> None:
    session = onnxruntime.InferenceSession(str(pack / "a.onnx"))
    assert model._detector is not None
    for frame, found in zip(frames(), model._detector.detect(batches.Batch(frames())), strict=True):
        assert isinstance(found, scrfd.Found)
        candidates = []
        for edge in (128, 640):
            whole = np.array(frame.shape[1::-1])
            scale = whole / (edge * whole // whole.max())  # a letterbox has whole px
            look = batches.Look(
                (edge, edge), (127.5,) * 3, (1 / 128,) * 3, fit="letterbox", filter="bilinear"
            )
            pixels = batches.looked_at(frame, look)[None]
            for score, box, marks in plain_detection(session, pixels):
                candidates.append((score, list(box * np.tile(scale, 2)), marks * scale))
        wanted = plain_suppression(candidates, faces.MAX_FACES)
        assert len(found.scores) == len(wanted) > 5
        assert found.scores == pytest.approx([score for score, _, _ in wanted], abs=1e-5)
        edges = np.concatenate([found.boxes[:, :2], found.boxes[:, :2] + found.boxes[:, 2:]], axis=1)
        assert edges == pytest.approx(np.array([box for _, box, _ in wanted]), abs=0.01)
        assert found.landmarks == pytest.approx(np.array([marks for _, _, marks in wanted]), abs=0.01)


def test_a_frame_of_the_looks_own_size_is_seen_unchanged_and_black_below(pack: Path) -> None:
    frame = frames()[0]
    seen = batches.looked_at(frame, scrfd._look(640, 640))
    wanted = np.zeros((640, 640, 3), np.float32)
    wanted[:480] = frame
    assert np.abs(seen - ((wanted - 127.5) / 128).transpose(2, 0, 1)).max() < 1e-5


@pytest.mark.parametrize(
    "detector",
    [
        {"batch": 1},  # made for one picture: its copy in the cache takes more
        {"batch": 1, "px": 640},
        {"batch": "n", "px": 640, "is_batched": True},
        {"batch": "n"},  # rows of a place in all pictures lie together
        {"batch": "n", "px": 640, "anchors": 1},
    ],
)
def test_a_batch_is_one_run_and_gives_what_one_at_a_time_gives(
    settings: Settings, tmp_path: Path, detector: dict[str, Any]
) -> None:
    tiny_graphs.scrfd(tmp_path / "det.onnx", **detector)
    tiny_graphs.arcface(tmp_path / "rec.onnx")
    model = FacePackModel(settings, tiny_graphs.found(tmp_path), ONE_THREAD)
    model.load()
    runs = counted_runs(model)
    assert_batch_equals_singles(model)
    looks = 1 if "px" in detector else 2
    assert runs[:looks] == [3] * looks


def test_a_graph_that_takes_one_picture_only_gives_the_same_one_by_one(
    settings: Settings, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A reshape to rows of one picture refuses two; onnxruntime used to print that in red."""
    graph = tiny_graphs.Graph()
    for name, values in (("s", 1), ("b", 4), ("k", 10)):
        for stride in (8, 16, 32):
            grid = graph.conv("x", (3, values), stride, bias=-1.0 if name == "s" else 1.0)
            turned = graph.add("Transpose", grid, perm=[0, 2, 3, 1])
            shape = graph.constant([(640 // stride) ** 2, values], np.int64)
            to = f"{name}{stride}"
            out = graph.add("Reshape", turned, shape, to="" if name == "s" else to)
            if name == "s":
                graph.add("Sigmoid", out, to=to)
    outputs = {f"{n}{s}": (None, v) for n, v in (("s", 1), ("b", 4), ("k", 10)) for s in (8, 16, 32)}
    graph.save(tmp_path / "det.onnx", {"x": (1, 3, 640, 640)}, outputs)
    tiny_graphs.arcface(tmp_path / "rec.onnx")
    model = FacePackModel(settings, tiny_graphs.found(tmp_path), ONE_THREAD)
    model.load()
    assert model._detector is not None
    assert not model._detector._graph.takes_batches
    assert capfd.readouterr().err == ""
    assert_batch_equals_singles(model)


def counted_runs(model: FacePackModel) -> list[int]:
    """Filled with the number of pictures of each run of the detector's network."""
    assert model._detector is not None
    session = model._detector._graph._session
    runs: list[int] = []

    class Counted:
        def run(self, *inputs: Any) -> Any:
            runs.append(len(inputs[0]))
            return session.run(*inputs)

    model._detector._graph._session = Counted()  # type: ignore[assignment]
    return runs


def assert_batch_equals_singles(model: FacePackModel) -> None:
    together = model.run(frames())
    assert sum(len(output.faces or ()) for output in together) > 20
    for frame, output in zip(frames(), together, strict=True):
        (alone,) = model.run([frame])
        assert output.faces is not None, output.error
        assert alone.faces is not None, alone.error
        assert len(output.faces) == len(alone.faces)
        for one, other in zip(output.faces, alone.faces, strict=True):
            assert one.box == pytest.approx(other.box, abs=1e-4)
            assert one.score == pytest.approx(other.score, abs=1e-4)
            assert embedding_of(one) @ embedding_of(other) > 0.999


@pytest.mark.parametrize("from_mxnet", [False, True])
def test_each_embedding_is_that_of_its_own_crop(settings: Settings, tmp_path: Path, from_mxnet: bool) -> None:
    tiny_graphs.scrfd(tmp_path / "det.onnx", px=640)
    path = tiny_graphs.arcface(tmp_path / "rec.onnx", dimensions=256, from_mxnet=from_mxnet)
    model = FacePackModel(settings, tiny_graphs.found(tmp_path), ONE_THREAD)
    model.load()
    session = onnxruntime.InferenceSession(str(path))
    for frame, output in zip(frames(), model.run(frames()), strict=True):
        height, width = frame.shape[:2]
        for face in (output.faces or ())[:20]:
            points = np.array(face.landmarks, np.float32) * [width, height]
            crop = faces.aligned(frame, points.astype(np.float32)).astype(np.float32)
            levels = crop if from_mxnet else (crop - 127.5) / 127.5
            (vector,) = session.run(None, {"input.1": levels.transpose(2, 0, 1)[None]})[0]
            assert len(embedding_of(face)) == 256
            assert embedding_of(face) @ (vector / np.linalg.norm(vector)) > 0.999


def test_many_faces_are_recognised_in_runs_of_bounded_size(model: FacePackModel) -> None:
    sizes = []
    recogniser = model._recogniser
    assert recogniser is not None
    graph = recogniser._graph

    class Counted:
        def run(self, pixels: Any) -> Any:
            sizes.append(len(pixels))
            return graph.run(pixels)

    crops = [np.full((112, 112, 3), level, np.uint8) for level in range(40)]
    recogniser._graph = Counted()  # type: ignore[assignment]
    try:
        assert len(recogniser.embed(crops)) == 40
    finally:
        recogniser._graph = graph
    assert sizes == [16, 16, 8]


def test_faces_are_turned_by_the_similarity_with_the_least_squared_error() -> None:
    """scikit-image estimates the same by Umeyama's method, as insightface does."""
    random = np.random.default_rng(2)
    for _ in range(20):
        turned = SimilarityTransform(
            scale=random.uniform(0.5, 4), rotation=random.uniform(-1, 1), translation=(80, 50)
        )
        points = turned(faces._TEMPLATE) + random.normal(size=(5, 2)) * 3
        wanted = SimilarityTransform.from_estimate(points, faces._TEMPLATE).params[:2]
        assert faces._similarity(points, faces._TEMPLATE) == pytest.approx(wanted, abs=1e-6)


def test_graphs_are_told_apart_by_what_they_take_and_give(pack: Path) -> None:
    assert pack_graphs(pack) == (pack / "a.onnx", pack / "b.onnx")


def test_of_two_recognisers_the_larger_is_taken(tmp_path: Path) -> None:
    tiny_graphs.scrfd(tmp_path / "det.onnx")
    tiny_graphs.arcface(tmp_path / "small.onnx", dimensions=128)
    large = tiny_graphs.arcface(tmp_path / "sub" / "large.onnx", dimensions=512)
    assert pack_graphs(tmp_path)[1] == large


@pytest.mark.parametrize("lacking", ["detector with landmarks", "recogniser"])
def test_a_pack_without_a_part_says_which(tmp_path: Path, lacking: str) -> None:
    tiny_graphs.landmarks(tmp_path / "1k3d68.onnx")
    if lacking == "recogniser":
        tiny_graphs.scrfd(tmp_path / "det.onnx")
    with pytest.raises(ModelError, match=lacking):
        pack_graphs(tmp_path)


def test_a_file_that_is_no_graph_is_named(tmp_path: Path) -> None:
    (tmp_path / "det.onnx").write_bytes(b"not found\n")
    with pytest.raises(ModelError, match=r"det\.onnx"):
        pack_graphs(tmp_path)


def test_boxes_stay_inside_the_frame(model: FacePackModel) -> None:
    for output in model.run(frames()):
        for face in output.faces or ():
            x, y, width, height = face.box
            assert min(x, y, width, height) >= 0
            assert x + width <= 1.00001
            assert y + height <= 1.00001


def test_a_frame_that_is_no_frame_fails_alone(model: FacePackModel) -> None:
    first, second, third = model.run([np.zeros((3,), np.uint8), *frames()[:2]])
    assert first.error
    assert first.faces is None
    assert second.faces
    assert third.faces


def test_what_is_not_a_number_fails_its_frame_alone(
    model: FacePackModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert model._detector is not None
    graph = model._detector._graph

    def spoiled(pixels: Any) -> list[Any]:
        outputs = graph_run(pixels)
        outputs[0][1, 0] = np.nan
        return outputs

    graph_run = graph.run
    monkeypatch.setattr(graph, "run", spoiled)
    first, second, third = model.run(frames())
    assert second.error
    assert "not a number" in second.error
    assert first.faces
    assert third.faces


def test_an_embedding_that_is_not_a_number_fails_its_frame_alone(
    model: FacePackModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    recogniser = model._recogniser
    assert recogniser is not None
    embed = recogniser.embed

    def spoiled(crops: Any) -> Any:
        vectors = embed(crops)
        vectors[0] = vectors[0] * np.float32(np.nan)
        return vectors

    monkeypatch.setattr(recogniser, "embed", spoiled)
    outputs: list[Output] = model.run(frames())
    assert [bool(output.error) for output in outputs] == [True, False, False]


def test_the_fingerprint_is_that_of_the_weights(settings: Settings, pack: Path, tmp_path: Path) -> None:
    found = tiny_graphs.found(pack, "buffalo")
    assert FacePackModel(settings, found, ONE_THREAD).fingerprint == f"buffalo@{found.short_hash}.1"
    tiny_graphs.scrfd(tmp_path / "a.onnx")
    assert tiny_graphs.found(tmp_path, "buffalo").short_hash != found.short_hash


def test_a_folder_with_several_graphs_has_one_called_model(tmp_path: Path) -> None:
    tiny_graphs.landmarks(tmp_path / "model_fp16.onnx")
    with pytest.raises(ModelError, match=r"one model\.onnx"):
        graphs.only_graph(tmp_path / "nothing")
    assert graphs.only_graph(tmp_path).name == "model_fp16.onnx"
    tiny_graphs.landmarks(tmp_path / "onnx" / "model.onnx")
    assert graphs.only_graph(tmp_path).name == "model.onnx"
    tiny_graphs.landmarks(tmp_path / "other" / "model.onnx")
    with pytest.raises(ModelError, match="other/model"):
        graphs.only_graph(tmp_path)


def test_the_recogniser_knows_graphs_that_normalise_levels_themselves(tmp_path: Path) -> None:
    assert arcface.takes_levels(tiny_graphs.arcface(tmp_path / "mxnet.onnx", from_mxnet=True))
    assert not arcface.takes_levels(tiny_graphs.arcface(tmp_path / "torch.onnx"))
