"""Captions and answers: what is in a picture, in sentences, and what the owner asks of every photo.

::

    florence   Florence-2: a caption                                       torch
    blip2      BLIP-2: a caption and answers, the picture looked at once   torch
    qwen       Qwen-VL: a caption and answers                              torch
    server     a server that speaks one of three HTTP APIs                 httpx
       ├── address   where it is, and whether photos and a key may go there
       ├── apis      how each API asks and answers
       ├── replies   what is asked of a server, and what is made of its words
       └── spending  what a run has had of it, and spent
    questions  the owner's file of questions

All write the output "caption". Importing this package, or a module of it, loads neither torch nor httpx.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from catalogd.records import Answer, Output

NAME = "caption"
MOST_CAPTION_CHARACTERS = 1000  # longer ones are no sentence or two: models that repeat themselves
MOST_ANSWER_CHARACTERS = 500
# Control characters, spaces of all kinds, what turns the direction of text, what UTF-8 or XML cannot hold.
_UNSEEN = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff\s]+"
)


def tidy(text: str, most: int) -> str:
    """One line of at most `most` characters, cut at a word where one ends late enough."""
    line = _UNSEEN.sub(" ", text).strip()
    if len(line) <= most:
        return line
    cut = line[: most - 1]
    return (cut[: cut.rfind(" ")] if cut.rfind(" ") > most // 2 else cut).rstrip() + "…"


def output(fingerprint: str, caption: str, questions: Sequence[str], answers: Sequence[str]) -> Output:
    """The output of one photo. Questions without an answer are left out; an empty caption is an error."""
    line = tidy(caption, MOST_CAPTION_CHARACTERS)
    if not line:
        return Output(fingerprint, error="the model wrote an empty caption")
    pairs = zip(questions, (tidy(answer, MOST_ANSWER_CHARACTERS) for answer in answers), strict=True)
    return Output(
        fingerprint,
        caption=line,
        answers=tuple(Answer(question, answer) for question, answer in pairs if answer),
    )
