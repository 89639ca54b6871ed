"""RT-DETR with random weights in its true architecture, against transformers' own way."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from catalogd.models.batches import looked_at
from catalogd.models.detr import DetrModel, best
from catalogd.models.devices import Hardware
from catalogd.models.objects import COCO_NAMES
from catalogd.settings import Settings
from tests.models import tiny_graphs

pytestmark = pytest.mark.torch


class Network:
    """transformers' network in the place of its exported graph."""

    inputs = ("pixel_values",)
    outputs = ("logits", "pred_boxes")
    size = (640, 640)

    def __init__(self) -> None:
        import torch
        from transformers import RTDetrConfig, RTDetrForObjectDetection, RTDetrResNetConfig

        torch.manual_seed(0)
        torch.set_num_threads(1)
        backbone = RTDetrResNetConfig(
            embedding_size=16,
            hidden_sizes=[16, 24, 32, 40],
            depths=[1, 1, 1, 1],
            layer_type="basic",
            out_features=["stage2", "stage3", "stage4"],
        )
        config = RTDetrConfig(
            backbone_config=backbone,
            d_model=32,
            encoder_hidden_dim=32,
            encoder_in_channels=[24, 32, 40],
            decoder_in_channels=[32, 32, 32],
            num_queries=30,
            decoder_layers=2,
            encoder_ffn_dim=64,
            decoder_ffn_dim=64,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            num_labels=80,
            hidden_expansion=0.5,
        )
        self.network = RTDetrForObjectDetection(config)
        with torch.no_grad():  # weights start so small that every picture gives the same: spread them
            for weight in self.network.parameters():
                if weight.ndim > 1:
                    weight.normal_(0, weight[0].numel() ** -0.5)
            for module in self.network.modules():
                if isinstance(module, torch.nn.BatchNorm2d):
                    module.momentum = 1.0  # what comes out has variance 1 after one pass in training
            self.network.train()(torch.rand(4, 3, 640, 640, generator=torch.Generator().manual_seed(1)))
            self.network.eval()
            for head in self.network.model.decoder.class_embed:
                head.weight.normal_(0, 0.6)
                head.bias.fill_(-2.0)

    def run(self, pixels: Any, *_: Any) -> list[Any]:
        import torch

        with torch.no_grad():
            out = self.network(torch.from_numpy(pixels))
        return [out.logits.numpy(), out.pred_boxes.numpy()]


@pytest.fixture(scope="module")
def network() -> Network:
    return Network()


@pytest.fixture
def model(settings: Settings, tmp_path: Path, network: Network) -> DetrModel:
    tiny_graphs.rtdetr(tmp_path / "model.onnx")
    model = DetrModel(settings, tiny_graphs.found(tmp_path), Hardware(threads=1))
    model.load()
    model._graph = network  # type: ignore[assignment]
    return model


def frames() -> list[NDArray[np.uint8]]:
    random = np.random.default_rng(5)
    return [
        np.kron(random.integers(0, 256, (*shape, 3), np.uint8), np.ones((40, 40, 1), np.uint8))
        for shape in ((16, 16), (12, 16), (16, 10))
    ]


def reference(network: Network, pixels: Any) -> Any:
    """The documented way: one picture, the processor's own post-processing."""
    import torch
    from transformers import RTDetrImageProcessor

    with torch.no_grad():
        out = network.network(torch.from_numpy(pixels))
    (result,) = RTDetrImageProcessor().post_process_object_detection(
        out, threshold=0.5, target_sizes=[(1, 1)]
    )
    return result


def test_objects_of_a_batch_are_those_of_one_picture_at_a_time(model: DetrModel, network: Network) -> None:
    assert_documented(model, network)


def test_objects_of_an_exported_graph_are_those_of_the_network(
    settings: Settings, tmp_path: Path, network: Network
) -> None:
    import torch

    class Named(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network.network

        def forward(self, pixels: Any) -> Any:
            out = self.network(pixels)
            return out.logits, out.pred_boxes

    names = ["pixel_values", "logits", "pred_boxes"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tracing
        torch.onnx.export(
            Named().eval(),
            (torch.rand(2, 3, 640, 640),),
            str(tmp_path / "model.onnx"),
            input_names=names[:1],
            output_names=names[1:],
            dynamic_axes={name: {0: "batch"} for name in names},
            opset_version=17,
            dynamo=False,
        )
    model = DetrModel(settings, tiny_graphs.found(tmp_path), Hardware(threads=1))
    model.load()
    assert model._graph is not None
    assert model._graph.takes_batches
    assert_documented(model, network)


def assert_documented(model: DetrModel, network: Network) -> None:
    outputs = model.run(frames())
    assert outputs[0].objects != outputs[1].objects, "random weights should see something"
    for frame, output in zip(frames(), outputs, strict=True):
        wanted = reference(network, looked_at(frame, model._look)[None])
        assert output.objects is not None, output.error
        assert len(output.objects) == len(wanted["scores"]) > 5
        for item, score, label, edges in zip(
            output.objects, wanted["scores"], wanted["labels"], wanted["boxes"], strict=True
        ):
            left, top, right, bottom = np.clip(edges.numpy(), 0, 1)
            assert item.name == COCO_NAMES[int(label)]
            assert item.score == pytest.approx(float(score), abs=1e-4)
            assert item.box == pytest.approx((left, top, right - left, bottom - top), abs=1e-3)


def test_pixels_are_those_of_the_processor(model: DetrModel) -> None:
    """But for the whole levels that it rounds to between resizing and dividing by 255."""
    from PIL import Image
    from transformers import RTDetrImageProcessorPil

    processor = RTDetrImageProcessorPil()
    for frame in frames():
        wanted = processor(images=Image.fromarray(frame), return_tensors="np").pixel_values[0]
        assert np.abs(looked_at(frame, model._look) - wanted).max() < 1.5 / 255


def test_rows_are_those_of_the_post_processing() -> None:
    """On numbers alone: more sure pairs than queries, and ties between none."""
    import torch
    from transformers import RTDetrImageProcessor
    from transformers.models.rt_detr.modeling_rt_detr import RTDetrObjectDetectionOutput

    random = np.random.default_rng(6)
    logits = random.normal(size=(20, 80)).astype(np.float32)
    boxes = random.uniform(0.1, 0.9, (20, 4)).astype(np.float32)
    out = RTDetrObjectDetectionOutput(
        logits=torch.from_numpy(logits)[None], pred_boxes=torch.from_numpy(boxes)[None]
    )
    (wanted,) = RTDetrImageProcessor().post_process_object_detection(out, threshold=0.5)
    rows = best(logits, boxes)
    assert len(rows.scores) == 20
    assert list(rows.classes) == wanted["labels"].tolist()
    assert rows.scores == pytest.approx(wanted["scores"].numpy(), abs=1e-6)
    assert rows.boxes == pytest.approx(wanted["boxes"].numpy(), abs=1e-6)
