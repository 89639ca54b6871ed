"""What catalogd has to say of a photo to a program that keeps its own catalog (Lightroom).

The same words as in the photo's sidecar: keywords by the same policy, people and stars as their owner
said them, captions of catalogd's own alone. What the program makes of them is its plugin's business.
"""

from __future__ import annotations

from typing import Any

from catalogd.records import Proposal, Quality, Record, captioned_by
from catalogd.sync.fields import Own, own_caption, own_rating, own_title
from catalogd.sync.policy import SEPARATOR, Keyword, Policy, explained_keywords

# Bounds of the one word for a photo's technical quality, on the scales of docs/models.md. Of light, those
# beyond which culling lets a shot fall far behind (culling/ranking.py); of sharpness, thirds of the scale.
BLURRED_BELOW, SOFT_BELOW = 33.0, 67.0  # sharpness
DARK_BELOW, BRIGHT_ABOVE = 0.05, 0.9  # mean luma
REJECTED = -1  # stars


def results_of(record: Record, own: Own, proposal: Proposal | None, policy: Policy) -> dict[str, Any]:
    """The results as the HTTP API gives them; what catalogd has nothing to say of is None or empty."""
    said = record.said
    quality = next((output.quality for output in record.outputs.values() if output.quality), None)
    caption = own_caption(record)
    return {
        "caption": None if caption is None else {"text": caption, "model": _captioner(record)},
        "title": own_title(record),
        "keywords": [_keyword_json(one) for one in explained_keywords(record, policy, own.people)],
        "people": list(own.people or ()),
        "text": [line.text for output in record.outputs.values() for line in output.text_lines or ()],
        "sharpness": None if quality is None else quality.sharpness,
        "quality_band": None if quality is None else quality_band(quality),
        "faces": sum(len(output.faces or ()) for output in record.outputs.values()),
        "rating_proposal": _proposal_json(record, own, proposal),
        "place": None if said.place is None else _place_json(record),
        "latitude": said.latitude,
        "longitude": said.longitude,
        "alt_text": caption,
    }


def quality_band(quality: Quality) -> str:
    """One word: "blurred", "dark", "bright", "soft" or "sharp", the first of these that is true."""
    if quality.sharpness < BLURRED_BELOW:
        return "blurred"
    if quality.brightness < DARK_BELOW:
        return "dark"
    if quality.brightness > BRIGHT_ABOVE:
        return "bright"
    return "soft" if quality.sharpness < SOFT_BELOW else "sharp"


def _captioner(record: Record) -> str:
    """The model that its caption is from."""
    output = captioned_by(record)
    return "" if output is None else output.fingerprint


def _keyword_json(keyword: Keyword) -> dict[str, Any]:
    score = None if keyword.score is None else round(keyword.score, 4)
    path = SEPARATOR.join(keyword.path)
    return {"name": keyword.path[-1], "path": path, "score": score, "kind": keyword.kind}


def _proposal_json(record: Record, own: Own, proposal: Proposal | None) -> dict[str, Any] | None:
    """Stars, label and flag that a person had catalogd propose. Rejected is a flag, not a number of stars."""
    rating, label = own_rating(record, own)
    if rating is None and label is None:
        return None
    return {
        "rating": None if rating == REJECTED else rating,
        "label": label,
        "pick": -1 if rating == REJECTED else None,
        "reasons": list(proposal.reasons) if proposal is not None else [],
    }


def _place_json(record: Record) -> dict[str, str]:
    place = record.said.place
    assert place is not None
    return {name: getattr(place, name) for name in ("country_code", "country", "region", "city")}
