"""Tags become the keywords that the user wants, and a wrong vocabulary file says where it is wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from catalogd.errors import SettingsError
from catalogd.records import Facts, ObjectBox, Output, Place, Record, Stat, Tag
from catalogd.settings import Settings
from catalogd.sync.policy import Policy, keywords_of, load_policy

ROOT = Path(__file__).parents[2]
BOX = (0.1, 0.1, 0.2, 0.2)


def photo(
    tags: dict[str, float] | None = None, objects: dict[str, float] | None = None, **facts: object
) -> Record:
    outputs = {
        "embedding": Output("e", tags=tuple(Tag(*tag) for tag in (tags or {}).items())),
        "objects": Output(
            "o", objects=tuple(ObjectBox(name, BOX, score) for name, score in (objects or {}).items())
        ),
        "faces": Output("f", error="out of memory"),
    }
    return Record(b"/a.jpg", Stat(1, 1), b"." * 16, Facts("jpeg", 4, 3, **facts), outputs)  # type: ignore[arg-type]


def keywords(record: Record, policy: Policy) -> list[str]:
    return ["|".join(path) for path in keywords_of(record, policy)]


def policy_of(tmp_path: Path, vocabulary: str, **settings: object) -> Policy:
    file = tmp_path / "keywords.toml"
    file.write_text(vocabulary, "utf-8")
    plain = {"keyword_parent": "", **settings}
    return load_policy(Settings(keyword_vocabulary=file, **plain))  # type: ignore[arg-type]


def test_without_a_vocabulary_each_sure_tag_is_a_keyword_below_the_parent() -> None:
    record = photo({"dog": 0.9, "sofa": 0.5, "cat": 0.49}, {"dog": 0.95, "chair": 0.7})
    assert keywords(record, load_policy(Settings())) == ["catalogd|dog", "catalogd|chair", "catalogd|sofa"]
    assert keywords(record, load_policy(Settings(keyword_parent="", keywords_most=1))) == ["dog"]
    assert keywords(record, load_policy(Settings(keyword_parent="AI|Tags", keywords_most=1))) == [
        "AI|Tags|dog"
    ]
    assert keywords(record, load_policy(Settings(keywords_most=0))) == []


def test_each_model_may_have_to_be_surer_than_others(tmp_path: Path) -> None:
    record = photo({"dog": 0.6, "cat": 0.3}, {"sofa": 0.6, "chair": 0.9})
    policy = policy_of(tmp_path, "[scores]\nobjects = 0.8\nembedding = 0.25")
    assert keywords(record, policy) == ["chair", "dog", "cat"]
    assert keywords(record, policy_of(tmp_path, "", keyword_min_score=0.7)) == ["chair"]


def test_the_vocabulary_renames_and_arranges_tags_whatever_their_case(tmp_path: Path) -> None:
    vocabulary = """
        [keywords]
        Dog = "Animals|Dog"
        "tabby cat" = ["Animals|Cat", "Indoors"]
        notebook = "laptop"
    """
    record = photo({"dog": 0.9, "Tabby cat": 0.8, "notebook": 0.7, "laptop": 0.6})
    expected = ["Animals|Dog", "Animals|Cat", "Indoors", "laptop"]
    assert keywords(record, policy_of(tmp_path, vocabulary)) == expected
    below = policy_of(tmp_path, vocabulary, keyword_parent="Animals")
    assert keywords(record, below)[:2] == ["Animals|Dog", "Animals|Cat"], "the parent is there already"


def test_a_blocked_word_is_no_keyword_by_any_name_and_takes_no_place(tmp_path: Path) -> None:
    vocabulary = 'block = ["Web Site", "laptop"]\n[keywords]\nnotebook = "Things|laptop"'
    record = photo({"web site": 0.9, "notebook": 0.8, "dog": 0.7})
    assert keywords(record, policy_of(tmp_path, vocabulary, keywords_most=1)) == ["dog"]
    hidden = photo(people=("Ana", "Bo"), place=Place("NO", "Norway", city="Oslo"))
    assert keywords(hidden, policy_of(tmp_path, 'block = ["ana", "oslo"]')) == ["People|Bo"]


def test_keywords_are_written_in_each_language_and_once_where_they_are_alike(tmp_path: Path) -> None:
    vocabulary = """
        languages = ["en", "de"]
        [keywords]
        dog = "Animals|Dog"
        [names.de]
        animals = "Tiere"
        Dog = "Hund"
    """
    record = photo({"dog": 0.9, "taxi": 0.8})
    policy = policy_of(tmp_path, vocabulary, keywords_most=2)
    assert keywords(record, policy) == ["Animals|Dog", "Tiere|Hund", "taxi"]
    only = policy_of(tmp_path, vocabulary.replace('"en", ', ""))
    assert keywords(record, only) == ["Tiere|Hund", "taxi"]


@pytest.mark.parametrize(("case", "expected"), [("keep", "iPod"), ("lower", "ipod"), ("capital", "IPod")])
def test_the_case_of_tags_is_as_wished_and_that_of_the_vocabulary_as_written(
    case: str, expected: str, tmp_path: Path
) -> None:
    policy = policy_of(tmp_path, '[keywords]\ndog = "aNiMals|dOg"', keyword_case=case)
    assert keywords(photo({"iPod": 0.9, "dog": 0.8}, people=("de Wit",)), policy) == [
        expected,
        "aNiMals|dOg",
        "People|de Wit",
    ]


def test_people_and_places_have_their_parents_and_can_be_left_out() -> None:
    record = photo(people=("Ana | Núñez",), place=Place("DE", "Germany", "Berlin", "Berlin", "Mitte"))
    assert keywords(record, load_policy(Settings())) == ["People|Ana Núñez", "Places|Germany|Berlin"]
    without = load_policy(Settings(keyword_people="", keyword_places=" "))
    assert keywords(record, without) == []
    elsewhere = load_policy(Settings(keyword_people="Family|People", keyword_places="World"))
    assert keywords(record, elsewhere) == ["Family|People|Ana Núñez", "World|Germany|Berlin"]
    assert keywords(photo(place=Place("", "")), load_policy(Settings())) == []


def test_words_of_models_are_cleaned_before_they_are_keywords() -> None:
    record = photo({"a|b\n-XMP:all=": 0.9, " \0 ": 0.8, "AC/DC": 0.7})
    assert keywords(record, load_policy(Settings(keyword_parent=""))) == ["a b -XMP:all=", "AC/DC"]


@pytest.mark.parametrize(
    ("vocabulary", "place"),
    [
        ("[keywords\n", "line 1"),
        ("a = 1\nb = = 2", "line 2"),
        ("colour = 1", "colour: there is no such table"),
        ('block = "dog"', "block: must be a list of words"),
        ("block = [1]", "block: must be a list of words"),
        ("keywords = 3", "keywords: must be a table"),
        ("[keywords]\ndog = 3", "keywords.dog: must be a list of words"),
        ("[keywords]\ndog = []", "keywords.dog: names no keyword"),
        ('[keywords]\ndog = "a||b"', "keywords.dog: must be a keyword"),
        ('[keywords]\ndog = ""', "keywords.dog: must be a keyword"),
        ("[scores]\nobjects = 2", "scores.objects: must be a number from 0 to 1"),
        ("[scores]\nobjects = true", "scores.objects: must be a number from 0 to 1"),
        ("[scores]\nobjects = nan", "scores.objects: must be a number from 0 to 1"),
        ('[names.de]\ndog = "Hund"', 'names.de: is not among the "languages"'),
        ('languages = ["de"]\nnames.de = 3', "names.de: must be a table"),
        ('languages = ["de"]\n[names.de]\ndog = "Tiere|Hund"', "names.de.dog: must be one word"),
    ],
)
def test_a_wrong_vocabulary_says_where_it_is_wrong(vocabulary: str, place: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=re.escape(place)) as caught:
        policy_of(tmp_path, vocabulary)
    assert str(caught.value).startswith(str(tmp_path / "keywords.toml") + ": ")


def test_a_vocabulary_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No such file"):
        load_policy(Settings(keyword_vocabulary=tmp_path / "gone.toml"))
    (tmp_path / "latin.toml").write_bytes(b'block = ["caf\xe9"]')
    with pytest.raises(SettingsError, match="not UTF-8 at byte 13"):
        load_policy(Settings(keyword_vocabulary=tmp_path / "latin.toml"))


def test_the_example_of_the_docs_does_what_they_say(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "keywords.md").read_text("utf-8")
    (example,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    policy = policy_of(tmp_path, example)
    rows = re.findall(r"^\| `([^`|]+)` \| (0\.\d+) \| (.+) \|$", page, re.MULTILINE)
    assert len(rows) > 4
    for tag, score, said in rows:
        expected = [word.replace("\\|", "|") for word in re.findall(r"`([^`]+)`", said)]
        assert keywords(photo({tag: float(score)}), policy) == expected, tag
