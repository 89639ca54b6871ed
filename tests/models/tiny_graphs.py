"""ONNX graphs with the inputs and outputs of published ones, and small random weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from catalogd.models.bundles import Bundle, FoundBundle

OPSET = 17
Shape = Sequence[Any]


class Graph:
    """A graph that is written node by node."""

    def __init__(self, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self._nodes: list[Any] = []
        self._weights: list[Any] = []

    def constant(self, values: Any, dtype: Any = np.float32) -> str:
        name = f"w{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def add(self, kind: str, *inputs: str, to: str = "", **attributes: Any) -> str:
        name = to or f"n{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def cast(self, source: str, kind: int) -> str:
        name = f"n{len(self._nodes)}"
        self._nodes.append(helper.make_node("Cast", [source], [name], to=kind))
        return name

    def top(self, source: str, count: int, values: str, indices: str) -> None:
        """The largest `count` of each row."""
        number = self.constant([count], np.int64)
        self._nodes.append(helper.make_node("TopK", [source, number], [values, indices], axis=1))

    def conv(
        self, source: str, channels: tuple[int, int], px: int, *, bias: Any = 0.0, size: float = 1
    ) -> str:
        """Patches of `px` mapped to numbers, as the first layer of any of these networks does in the end."""
        into, out = channels
        weights = self.random.normal(size=(out, into, px, px)) * size / np.sqrt(into * px * px)
        biases = np.broadcast_to(np.asarray(bias, np.float32), (out,))
        return self.add("Conv", source, self.constant(weights), self.constant(biases), strides=[px, px])

    def save(self, path: Path, inputs: dict[str, Shape], outputs: dict[str, Shape], **kinds: Any) -> Path:
        """`kinds`: the type of a tensor that is not float."""

        def info(name: str, shape: Shape) -> Any:
            return helper.make_tensor_value_info(name, kinds.get(name, TensorProto.FLOAT), list(shape))

        graph = helper.make_graph(
            self._nodes,
            "tiny",
            [info(*item) for item in inputs.items()],
            [info(*item) for item in outputs.items()],
            self._weights,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
        path.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(model, str(path))
        return path


def found(folder: Path, id: str = "tiny", weights: tuple[str, ...] = ("*.onnx",)) -> FoundBundle:
    return FoundBundle(Bundle(id, "", ("*",), weights, "Apache-2.0", True), folder, "path")


def scrfd(path: Path, *, batch: Any = 1, px: Any = "?", is_batched: bool = False, anchors: int = 2) -> Path:
    """As insightface exports it: 9 outputs named by numbers; rows of a place together when for one picture.

    `is_batched`: outputs of three axes, as its batched exports have.
    """
    graph = Graph(3)
    names = ("448", "471", "494", "451", "474", "497", "454", "477", "500")
    kinds = ((1, -3.6, 4.0), (4, 2.0, 0.6), (10, 0.5, 0.8))  # numbers, bias, size
    for kind, (values, bias, size) in enumerate(kinds):
        for level, stride in enumerate((8, 16, 32)):
            grid = graph.conv("input.1", (3, anchors * values), stride, bias=bias, size=size)
            to = names[3 * kind + level]
            if is_batched:
                turned = graph.add("Transpose", grid, perm=[0, 2, 3, 1])
                shape = graph.constant([0, -1, values], np.int64)
            else:
                turned = graph.add("Transpose", grid, perm=[2, 3, 0, 1])
                shape = graph.constant([-1, values], np.int64)
            if kind == 0:
                graph.add("Sigmoid", graph.add("Reshape", turned, shape), to=to)
            else:
                graph.add("Reshape", turned, shape, to=to)
    axes = ("batch", "rows") if is_batched else ("rows",)
    outputs = {name: (*axes, kinds[i // 3][0]) for i, name in enumerate(names)}
    return graph.save(path, {"input.1": (batch, 3, px, px)}, outputs)


def arcface(path: Path, *, batch: Any = "None", dimensions: int = 512, from_mxnet: bool = False) -> Path:
    """A crop of 112 px in, `[1, 512]` declared out, whatever the batch, as the true ones declare it."""
    graph = Graph(5)
    source = "input.1"
    if from_mxnet:
        source = graph.add("Sub", source, graph.constant(127.5))
        source = graph.add("Mul", source, graph.constant(1 / 127.5))
    patches = graph.conv(source, (3, 16), 16)
    flat = graph.add("Flatten", graph.add("Relu", patches))
    graph.add("MatMul", flat, graph.constant(graph.random.normal(size=(16 * 49, dimensions)) / 28), to="683")
    return graph.save(path, {"input.1": (batch, 3, 112, 112)}, {"683": (1, dimensions)})


def landmarks(path: Path) -> Path:
    """What a pack has beside: 192-px crops to 3-D landmarks."""
    graph = Graph(7)
    flat = graph.add("Flatten", graph.conv("data", (3, 2), 64))
    graph.add("MatMul", flat, graph.constant(graph.random.normal(size=(18, 3309))), to="fc1")
    return graph.save(path, {"data": ("None", 3, 192, 192)}, {"fc1": (1, 3309)})


def rtdetr(path: Path, *, queries: int = 60, classes: int = 80, batch: Any = "batch_size") -> Path:
    """As transformers exports it: `logits` and `pred_boxes`."""
    graph = Graph(11)
    logits, boxes = _queries(graph, "pixel_values", queries, classes)
    graph.add("Identity", logits, to="logits")
    graph.add("Identity", boxes, to="pred_boxes")
    return graph.save(
        path,
        {"pixel_values": (batch, 3, 640, 640)},
        {"logits": (batch, queries, classes), "pred_boxes": (batch, queries, 4)},
    )


def rtdetr_of_authors(path: Path, *, queries: int = 60, classes: int = 80) -> Path:
    """As lyuwenyu/RT-DETR exports it: decoded, with the picture's (width, height) as second input."""
    graph = Graph(11)
    logits, boxes = _queries(graph, "images", queries, classes)
    flat = graph.add("Flatten", graph.add("Sigmoid", logits))
    graph.top(flat, queries, "scores", "index")
    number = graph.constant(classes, np.int64)
    graph.add("Mod", "index", number, to="labels")
    wanted = graph.add("Unsqueeze", graph.add("Div", "index", number), graph.constant([2], np.int64))
    wanted = graph.add("Expand", wanted, graph.constant([1, 1, 4], np.int64))
    half = graph.add("Mul", _part(graph, boxes, 2, 4), graph.constant(0.5))
    centre = _part(graph, boxes, 0, 2)
    corners = graph.add("Concat", graph.add("Sub", centre, half), graph.add("Add", centre, half), axis=2)
    as_float = graph.cast("orig_target_sizes", TensorProto.FLOAT)
    scale = graph.add(
        "Unsqueeze", graph.add("Concat", as_float, as_float, axis=1), graph.constant([1], np.int64)
    )
    graph.add("Mul", graph.add("GatherElements", corners, wanted, axis=1), scale, to="boxes")
    return graph.save(
        path,
        {"images": ("N", 3, 640, 640), "orig_target_sizes": ("N", 2)},
        {"labels": ("N", queries), "boxes": ("N", queries, 4), "scores": ("N", queries)},
        orig_target_sizes=TensorProto.INT64,
        labels=TensorProto.INT64,
    )


def yolox(path: Path, *, px: int = 320, classes: int = 80, batch: Any = 1, is_decoded: bool = False) -> Path:
    """`[n, cells, 5 + classes]`: offsets, logarithms of sizes, probabilities.

    For one picture, it has that number in its reshapes, as traced exports do.
    """
    graph = Graph(13)
    head = 1 if batch == 1 else 0
    parts = []
    for stride in (8, 16, 32):
        # Levels of 0...255 come in; the network's numbers are about one.
        small = graph.add("Mul", "images", graph.constant(1 / 255))
        grid = graph.conv(small, (3, 5 + classes), stride, bias=[0.3, 0.3, 1.2, 1.2, 0.5] + [-1.5] * classes)
        rows = graph.add("Transpose", grid, perm=[0, 2, 3, 1])
        rows = graph.add("Reshape", rows, graph.constant([head, -1, 5 + classes], np.int64))
        place, scale = _cells(px, stride)
        box = _part(graph, rows, 0, 2), _part(graph, rows, 2, 4)
        if is_decoded:
            centre = graph.add("Mul", graph.add("Add", box[0], graph.constant(place)), graph.constant(scale))
            box = centre, graph.add("Mul", graph.add("Exp", box[1]), graph.constant(scale))
        sure = graph.add("Sigmoid", _part(graph, rows, 4, 5 + classes))
        parts.append(graph.add("Concat", *box, sure, axis=2))
    graph.add("Concat", *parts, axis=1, to="output")
    cells = sum((px // stride) ** 2 for stride in (8, 16, 32))
    return graph.save(path, {"images": (batch, 3, px, px)}, {"output": (batch, cells, 5 + classes)})


def tagger(path: Path, tags: int, *, px: int = 64) -> Path:
    graph = Graph(17)
    flat = graph.add("Flatten", graph.conv("image", (3, 8), 32))
    weights = graph.random.normal(size=(8 * (px // 32) ** 2, tags))
    graph.add("MatMul", flat, graph.constant(weights), to="logits")
    return graph.save(path, {"image": ("batch", 3, px, px)}, {"logits": ("batch", tags)})


def _queries(graph: Graph, source: str, queries: int, classes: int) -> tuple[str, str]:
    """Logits `[n, queries, classes]` and boxes (centre and size) `[n, queries, 4]`."""
    patches = graph.add("Flatten", graph.conv(source, (3, 4), 160, size=3))  # 64 numbers a picture

    def head(values: int, bias: float) -> str:
        weights = graph.constant(graph.random.normal(size=(64, queries * values)) / 8)
        raw = graph.add("Add", graph.add("MatMul", patches, weights), graph.constant(bias))
        return graph.add("Reshape", raw, graph.constant([0, queries, values], np.int64))

    return head(classes, -2.0), graph.add("Sigmoid", head(4, -0.3))


def _part(graph: Graph, source: str, start: int, stop: int) -> str:
    low, high, axis = (graph.constant([value], np.int64) for value in (start, stop, 2))
    return graph.add("Slice", source, low, high, axis)


def _cells(px: int, stride: int) -> tuple[Any, float]:
    rows = px // stride
    y, x = np.divmod(np.arange(rows * rows), rows)
    return np.stack([x, y], axis=1)[None], float(stride)
