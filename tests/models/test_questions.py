"""The owner's questions, and what captions become."""

from __future__ import annotations

from pathlib import Path

import pytest

from catalogd.errors import SettingsError
from catalogd.models import captions
from catalogd.models.captions import questions


def written(folder: Path, content: str | bytes) -> Path:
    file = folder / "questions.txt"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def test_no_file_asks_nothing() -> None:
    assert questions.read(None).texts == ()
    assert questions.read(None).short_hash == ""


def test_each_line_is_a_question_in_its_order_and_comments_are_none(tmp_path: Path) -> None:
    file = written(tmp_path, "\ufeff# what I want to know\r\n\r\n Is it  indoors? \r\nWie heißt das Tier?\n")
    assert questions.read(file).texts == ("Is it indoors?", "Wie heißt das Tier?")


def test_only_the_questions_decide_about_the_hash(tmp_path: Path) -> None:
    plain = questions.read(written(tmp_path, "one?\ntwo?\n")).short_hash
    commented = questions.read(written(tmp_path, "# hello\none?\n\n two?")).short_hash
    turned = questions.read(written(tmp_path, "two?\none?\n")).short_hash
    assert plain == commented
    assert len(plain) == 12
    assert turned != plain


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("one?\n" + "x" * 201, "line 2: 201 characters"),
        ("one?\n\none?\n", "line 3: asked before"),
        ("\n".join(f"{number}?" for number in range(21)), "line 21: more than 20"),
        (b"one?\n\xff\xfe?\n", "line 2: is not UTF-8"),
        ("one?\nt\x07wo?\n", "line 2: has control characters"),
        ("#" * 70_000, "larger than 64 KiB"),
    ],
)
def test_a_file_that_is_not_right_is_refused_with_its_line(
    tmp_path: Path, content: str | bytes, said: str
) -> None:
    file = written(tmp_path, content)
    with pytest.raises(SettingsError, match=said) as caught:
        questions.read(file)
    assert str(file) in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"questions: .*nowhere\.txt: No such file"):
        questions.read(tmp_path / "nowhere.txt")


def test_a_caption_is_one_line_of_bounded_length() -> None:
    made = captions.output("m@1.1", " a\n\x00cat \u2028sits ", ["Where?", "Why?"], ["on\ta mat", " "])
    assert made.caption == "a cat sits"
    assert [(item.question, item.answer) for item in made.answers or ()] == [("Where?", "on a mat")]
    long = captions.output("m@1.1", "word " * 400, [], []).caption or ""
    assert len(long) <= captions.MOST_CAPTION_CHARACTERS
    assert long.endswith("word…")
    assert captions.tidy("x" * 50, 10) == "x" * 9 + "…"


def test_an_empty_caption_is_an_error() -> None:
    made = captions.output("m@1.1", " \n", [], [])
    assert made.caption is None
    assert made.error
