"""Licences of weights: what they allow, and where they stand.

A model whose licence does not let everyone use it commercially is used only where its owner accepted the
licence: `catalogd models accept ID`, or `--accept-licence ID`.
"""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Licence:
    """The terms of some weights, by the name that catalogd gives them."""

    name: str
    url: str
    is_commercial: bool
    terms: str  # for people, in a sentence


_ALL = (
    Licence("Apache-2.0", "https://www.apache.org/licenses/LICENSE-2.0", True, "any use"),
    Licence("MIT", "https://opensource.org/license/mit", True, "any use"),
    Licence(
        "AGPL-3.0",
        "https://www.gnu.org/licenses/agpl-3.0.html",
        True,
        "any use; who offers a changed version over a network gives its source",
    ),
    Licence(
        "Apple-AMLR",
        "https://github.com/apple/ml-mobileclip/blob/main/LICENSE_MODELS",
        False,
        "Apple's Machine Learning Research Model licence: research only, no commercial product or service",
    ),
    Licence(
        "InsightFace-research",
        "https://github.com/deepinsight/insightface#license",
        False,
        "InsightFace's models: non-commercial research only",
    ),
    Licence(
        "OPT-175B",
        "https://github.com/facebookresearch/metaseq/blob/main/projects/OPT/MODEL_LICENSE.md",
        False,
        "its language model is Meta's OPT: non-commercial research only, whatever else is under MIT",
    ),
    Licence(
        "Qwen-Research",
        "https://huggingface.co/Qwen/Qwen2.5-VL-3B-Instruct/blob/main/LICENSE",
        False,
        "Qwen's research licence: non-commercial use only",
    ),
    Licence(
        "unknown",
        "",
        False,
        "catalogd does not know its licence: read what came with the weights",
    ),
)
LICENCES: dict[str, Licence] = {licence.name: licence for licence in _ALL}


def is_commercial(name: str) -> bool:
    return LICENCES[name].is_commercial


def terms(name: str) -> str:
    """What a licence demands, and where to read it."""
    licence = LICENCES.get(name)
    if licence is None:  # of a package, which names its own
        return name
    return f"{licence.terms}, {licence.url}" if licence.url else licence.terms
