"""Searches as a person has them: a text in, photos with reasons out."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from catalogd.catalog import Catalog
from catalogd.catalog.user_data import UserData
from catalogd.errors import CatalogMissingError, QueryError, UsageError
from catalogd.models import registry
from catalogd.query.meaning import WORDS_ALONE
from catalogd.query.searcher import NO_TEXT_INDEX, Searcher
from catalogd.records import Album, Example, Hit, Results, Signal
from catalogd.settings import Settings
from tests.catalog.photos import PROFILE
from tests.query.library import Encoder, filled, others, shot, told


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return filled(tmp_path_factory.mktemp("catalog"), [*told(), *others(60)])


@pytest.fixture(scope="module")
def searcher(settings: Settings) -> Iterator[Searcher]:
    with Searcher(settings, Encoder()) as searcher:
        yield searcher


def names(results: Results) -> list[str]:
    return [Path(hit.path.decode()).name for hit in results.hits]


def signal(hit: Hit, name: str) -> Signal:
    return next(signal for signal in hit.signals if signal.name == name)


# -- words and meaning -----------------------------------------------------------------------------


def test_words_and_meaning_find_together_and_a_photo_of_both_comes_first(searcher: Searcher) -> None:
    hits = searcher.search("dog").hits
    assert {hit.path for hit in hits} == {b"/lib/2023/Norway/dog_1.jpg", b"/lib/2023/Norway/dog_2.jpg"}
    assert {signal.name for signal in hits[0].signals} == {"meaning", "words"}
    assert all(0.5 <= hit.score <= 1 for hit in hits)


def test_a_query_that_nothing_matches_has_no_hits_but_the_nearest(searcher: Searcher) -> None:
    results = searcher.search("submarine")
    assert results.hits == ()
    assert 0 < len(results.nearest) <= 5
    scores = [hit.score for hit in results.nearest]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] < 0.5


def test_min_score_0_finds_the_nearest_whatever_they_are(searcher: Searcher) -> None:
    results = searcher.search("submarine", min_score=0, limit=7)
    assert len(results.hits) == 7
    assert results.nearest == ()


def test_min_score_leaves_out_what_scores_less(searcher: Searcher) -> None:
    scores = [hit.score for hit in searcher.search("dog", min_score=0).hits]
    limit = sorted(scores)[len(scores) // 2]
    assert all(hit.score >= limit for hit in searcher.search("dog", min_score=limit).hits)


def test_one_of_several_words_is_not_enough_to_be_found(searcher: Searcher) -> None:
    assert searcher.search("paid submarine voyage").hits == ()
    assert names(searcher.search("paid")) == ["receipt.jpg"]


def test_without_a_text_model_words_alone_are_searched_and_a_note_says_so(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "text_encoder", lambda *_, **__: None)
    with Searcher(settings) as searcher:
        results = searcher.search("paid")
    assert names(results) == ["receipt.jpg"]
    assert results.notes == (WORDS_ALONE,)


@pytest.mark.parametrize("query", ["paid", "caption:paid", "-text:paid", "(iso:1 OR keyword:paid)"])
def test_a_note_says_what_to_do_where_words_can_not_be_looked_up(tmp_path: Path, query: str) -> None:
    """A catalog whose text index is of another version had no hits by words, and nothing said so."""
    settings = filled(tmp_path, told())
    (settings.catalog / "text" / "version").write_text("1\n")
    with Searcher(settings, Encoder()) as searcher:
        assert searcher.search(query, explain=True).notes == (NO_TEXT_INDEX,)
        assert searcher.search("iso:1..").notes == ()


def test_a_name_that_nobody_has_is_told(searcher: Searcher) -> None:
    (note,) = searcher.search("person:Zebulon").notes
    assert note.startswith("nobody is called Zebulon yet")
    assert searcher.search("-person:Zebulon").notes == ()


def test_a_repeated_text_is_encoded_once(settings: Settings) -> None:
    encoder = Encoder()
    with Searcher(settings, encoder) as searcher:
        for _ in range(3):
            searcher.search('"dog" beach*')
    assert encoder.asked == ["dog beach"]


def test_the_weights_of_the_settings_decide_the_order(settings: Settings) -> None:
    def first(**weights: float) -> str:
        with Searcher(dataclasses.replace(settings, **weights), Encoder()) as searcher:
            return names(searcher.search("paid night", min_score=0))[0]

    assert first(weight_words=5.0, weight_meaning=0.0) == "receipt.jpg"
    assert first(weight_words=0.1, weight_meaning=5.0) == "night.jpg"


# -- filters inside the search ---------------------------------------------------------------------


def test_a_filter_that_keeps_few_photos_still_returns_its_best(searcher: Searcher) -> None:
    hits = searcher.search("dog rating:>=4 camera:nikon", limit=5, min_score=0).hits
    assert hits[0].path == b"/lib/2023/Norway/dog_1.jpg"
    assert 1 < len(hits) <= 5
    assert signal(hits[1], "filter").matched == ("rating: 4", "camera: Nikon Z 6")


def test_filters_alone_find_the_newest_first_and_say_how_many_there_are(searcher: Searcher) -> None:
    results = searcher.search("camera:sony", limit=4)
    assert results.total == 30
    assert names(results) == ["P1059.jpg", "P1057.jpg", "P1055.jpg", "P1053.jpg"]
    assert {hit.score for hit in results.hits} == {1.0}


def test_either_branch_finds_a_photo_and_each_photo_comes_once(searcher: Searcher) -> None:
    found = names(searcher.search("dog OR beach OR name:receipt"))
    assert sorted(found) == ["beach.jpg", "dog_1.jpg", "dog_2.jpg", "night.jpg", "receipt.jpg"]


# -- orders ----------------------------------------------------------------------------------------


def test_hits_of_words_are_put_in_the_order_that_was_asked_for(searcher: Searcher) -> None:
    newest = names(searcher.search("beach order:date"))
    assert newest[:2] == ["night.jpg", "beach.jpg"]
    assert names(searcher.search("beach order:-date")) == newest[::-1]
    assert names(searcher.search("dog order:name")) == ["dog_1.jpg", "dog_2.jpg"]


def test_a_second_order_decides_where_the_first_leaves_photos_equal(searcher: Searcher) -> None:
    assert names(searcher.search("is:landscape order:quality,-date", limit=2)) == ["dog_1.jpg", "P1000.jpg"]


# -- reasons ---------------------------------------------------------------------------------------


def test_a_reason_names_the_field_the_words_and_the_place_in_the_picture(searcher: Searcher) -> None:
    (receipt,) = searcher.search("total").hits
    found = signal(receipt, "words")
    assert found.matched == ("text: TOTAL 17.50",)
    assert found.boxes == ((0.1, 0.2, pytest.approx(0.3), pytest.approx(0.1)),)


def test_an_object_is_shown_with_its_box_and_a_tag_with_what_it_is_a_kind_of(searcher: Searcher) -> None:
    dog = next(hit for hit in searcher.search("dog").hits if hit.path.endswith(b"dog_1.jpg"))
    found = signal(dog, "words")
    assert "objects: dog" in found.matched
    assert "tags: boxer (dog)" in found.matched
    assert (0.1, 0.1, 0.5, 0.5) in found.boxes


def test_meaning_says_how_near_and_what_the_photo_is_seen_as(searcher: Searcher) -> None:
    beach = next(hit for hit in searcher.search("beach").hits if hit.path.endswith(b"/beach.jpg"))
    assert signal(beach, "meaning").matched == ("seen as: seashore",)
    assert signal(beach, "meaning").score == pytest.approx(0.97, abs=0.04)


def test_a_long_caption_is_shown_around_the_word(searcher: Searcher) -> None:
    (hit,) = searcher.search("waves").hits
    (caption,) = signal(hit, "words").matched
    assert caption.startswith("caption: …")
    assert caption.endswith("waves")
    assert len(caption) < 110


# -- people ----------------------------------------------------------------------------------------


def test_a_person_filter_says_who_and_where_in_the_picture(searcher: Searcher) -> None:
    (hit,) = searcher.search('person:"anna núñez"').hits
    assert signal(hit, "person").matched == ("person: Anna Núñez",)
    assert signal(hit, "person").boxes == ((0.3, 0.3, 0.1, 0.2),)


def test_a_name_in_plain_words_puts_the_photos_of_that_person_first(searcher: Searcher) -> None:
    results = searcher.search("anna beach", explain=True)
    assert names(results)[0] == "dog_2.jpg"
    assert signal(results.hits[0], "person").matched == ("person: Anna Núñez",)
    assert results.explanation is not None
    assert any("the person Anna Núñez" in line for line in results.explanation.read_as)


# -- similar photos --------------------------------------------------------------------------------


@pytest.mark.parametrize("photo", ["dog_1.jpg", "/lib/2023/Norway/dog_1.jpg", "{photo_id}"])
def test_an_example_is_known_by_name_path_or_number_and_is_no_hit_itself(
    searcher: Searcher, photo: str
) -> None:
    (itself,) = searcher.search("name:dog_1.jpg").hits
    results = searcher.search(f"similar:{photo.format(photo_id=itself.photo_id)}", limit=5)
    assert names(results)[0] == "dog_2.jpg"
    assert "dog_1.jpg" not in names(results)
    assert signal(results.hits[0], "similar").matched == ("like: dog_1.jpg",)


def test_words_turn_a_likeness(searcher: Searcher) -> None:
    plain = searcher.similar([Example("beach.jpg")], limit=10)
    turned = searcher.similar([Example("dog_1.jpg")], "night", limit=10)
    assert names(plain)[0] == "night.jpg"
    assert names(turned)[:2] == ["dog_2.jpg", "night.jpg"] or names(turned)[:2] == ["night.jpg", "dog_2.jpg"]


def test_likeness_and_words_together_are_shown_by_falling_scores(searcher: Searcher) -> None:
    """The order was that of the fused ranks, the score that of the likeness alone: 0.14, 0.12, 0.13."""
    scores = [hit.score for hit in searcher.similar([Example("dog_1.jpg")], "night", limit=30).hits]
    assert len(set(scores)) > 3
    assert scores == sorted(scores, reverse=True)


def test_an_explanation_has_the_cost_of_looking_at_examples(searcher: Searcher) -> None:
    explanation = searcher.similar([Example("dog_1.jpg")], explain=True).explanation
    assert explanation is not None
    assert explanation.steps[0].name == "examples"


def test_what_is_said_of_an_example_is_said_once(settings: Settings) -> None:
    """Each alternative of an OR said it again."""
    with Searcher(settings, Encoder()) as searcher:
        notes = searcher.similar([Example("dog")], "beach OR snow").notes
    assert len(notes) == 1
    assert "newest of 2" in notes[0]


@pytest.mark.parametrize("words", ["%", "🐶"])
def test_a_photo_that_no_filter_chose_has_no_filter_among_its_reasons(searcher: Searcher, words: str) -> None:
    hits = searcher.search(words, min_score=0, limit=3).hits
    assert {signal.name for hit in hits for signal in hit.signals} == {"meaning"}


def test_filters_count_for_likeness_too(searcher: Searcher) -> None:
    hits = searcher.similar([Example("dog_1.jpg")], "camera:sony", limit=3).hits
    assert len(hits) == 3
    assert all(b"/other/" in hit.path for hit in hits)


def test_what_is_like_an_unwanted_photo_comes_later(searcher: Searcher) -> None:
    likes = [Example("beach.jpg"), Example("dog_1.jpg")]
    both = names(searcher.similar(likes, limit=60))
    without = names(searcher.similar([*likes, Example("dog_2.jpg", negated=True)], limit=60))
    assert both.index("dog_2.jpg") <= 1
    assert "dog_2.jpg" not in without
    assert without[0] == "night.jpg"


def test_examples_that_are_all_unwanted_are_refused(searcher: Searcher) -> None:
    with pytest.raises(QueryError, match="to be like"):
        searcher.similar([Example("dog_1.jpg", negated=True)])


def test_an_example_that_is_no_photo_is_named_with_its_place(searcher: Searcher) -> None:
    with pytest.raises(QueryError, match=r"similar:nothing\.jpg \(at position 5\)") as raised:
        searcher.search("dog similar:nothing.jpg")
    assert raised.value.position == 4


def test_a_file_outside_the_library_is_read_on_the_spot_and_not_kept(
    settings: Settings, tmp_path: Path
) -> None:
    outside = tmp_path / "outside.jpg"
    outside.write_bytes(b"stands for a photo")
    seen = told()[0].outputs["embedding"]
    with Searcher(settings, Encoder()) as searcher:
        searcher._pictures = lambda path, space: (seen,) if path == bytes(outside) else ()  # type: ignore[assignment]
        results = searcher.similar([Example(str(outside))], limit=2)
    assert set(names(results)) == {"dog_1.jpg", "dog_2.jpg"}
    assert results.notes == ("outside.jpg: outside the library",)
    with Catalog.open(settings.catalog, settings) as catalog:
        assert catalog.photo_id_of(bytes(outside)) is None


def test_a_file_that_can_not_be_read_says_why(searcher: Searcher, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8 nothing more")
    with pytest.raises(UsageError, match=r"broken\.jpg"):
        searcher.similar([Example(str(broken))])


def test_of_several_photos_of_a_name_the_newest_is_taken_and_a_note_says_so(tmp_path: Path) -> None:
    same = [
        shot("/a/IMG_1.jpg", "dog", seed=1, taken_at="2020-01-01T00:00:00"),
        shot("/b/IMG_1.jpg", "dog", seed=2, taken_at="2021-01-01T00:00:00"),
    ]
    with Searcher(filled(tmp_path / "catalog", [*same, *others(5)]), Encoder()) as searcher:
        results = searcher.search("similar:IMG_1.jpg", limit=3)
    assert results.notes == ("IMG_1.jpg: the newest of 2 photos of this name: /b/IMG_1.jpg",)
    assert b"/a/IMG_1.jpg" in [hit.path for hit in results.hits]


def test_other_files_of_the_example_are_left_out_on_request(tmp_path: Path) -> None:
    pair = [
        shot("/a/IMG_1.jpg", "dog", seed=1, taken_at="2020-01-01T00:00:00"),
        shot("/a/IMG_1.dng", "dog", seed=2, like=1, taken_at="2020-01-01T00:00:00", format="raw"),
    ]
    with Searcher(filled(tmp_path / "catalog", [*pair, *others(5)]), Encoder()) as searcher:
        assert names(searcher.similar([Example("IMG_1.jpg")], limit=1)) == ["IMG_1.dng"]
        without = searcher.similar([Example("IMG_1.jpg")], limit=10, without_stacks=True)
    assert "IMG_1.dng" not in names(without)
    assert len(without.hits) == 5


# -- albums ----------------------------------------------------------------------------------------


@pytest.fixture
def with_albums(tmp_path: Path) -> Iterator[Searcher]:
    settings = filled(tmp_path / "catalog", [*told(), *others(60)])
    with Searcher(settings, Encoder()) as searcher:
        chosen = tuple(hit.photo_id for hit in searcher.search("name:dog_1.jpg OR name:beach.jpg").hits)
    with UserData(settings.catalog) as user:
        user.put_album(Album("Sonys", "camera:sony"))
        user.put_album(Album("Dogs", "dog"))
        user.put_album(Album("Chosen", photo_ids=chosen))
        user.put_album(Album("Sonys or chosen", "album:sonys OR album:chosen"))
        user.put_album(Album("Here", "album:there"))
        user.put_album(Album("There", "album:here"))
        user.put_album(Album("Broken", "iso:many"))
    with Searcher(settings, Encoder()) as searcher:
        yield searcher


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("album:sonys", 30),
        ("album:Chosen", 2),
        ("album:dogs", 2),
        ("-album:sonys camera:sony", 0),
        ('album:"sonys or chosen"', 32),
        ("album:sonys rating:5", 10),
        ("album:dogs rating:5", 1),
    ],
)
def test_an_album_in_a_query_stands_for_its_photos_of_now(
    with_albums: Searcher, query: str, count: int
) -> None:
    assert with_albums.count(query) == count
    assert with_albums.search(query, limit=100).total == count


def test_albums_that_lead_to_each_other_and_broken_ones_say_so(with_albums: Searcher) -> None:
    with pytest.raises(QueryError, match="albums lead to each other"):
        with_albums.search("album:here")
    with pytest.raises(QueryError, match='in the album "Broken"'):
        with_albums.search("album:broken")
    with pytest.raises(QueryError, match="there is no album"):
        with_albums.search("album:nobody")


# -- what models wrote -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "name", "matched"),
    [
        ("bonfire", "words", "caption by a model: A bonfire burns under a starry sky."),
        ("caption:bonfire", "filter", "caption by a model: A bonfire burns under a starry sky."),
        ("three", "words", "answer: How many people are there? three"),
        ("answer:three", "filter", "answer: How many people are there? three"),
        ('answer:"there three"', "filter", "answer: How many people are there? three"),
        ("aesthetics:>=6", "filter", "aesthetics: 6.5"),
    ],
)
def test_what_a_model_wrote_is_a_reason_that_says_so(
    searcher: Searcher, query: str, name: str, matched: str
) -> None:
    (hit,) = searcher.search(query).hits
    assert Path(hit.path.decode()).name == "night.jpg"
    assert matched in signal(hit, name).matched


def test_a_person_s_caption_is_told_from_a_model_s(searcher: Searcher) -> None:
    (hit,) = searcher.search("caption:waves").hits
    assert all(matched.startswith("caption: ") for matched in signal(hit, "filter").matched)
    assert names(searcher.search("has:caption")) == ["dog_2.jpg"]
    assert names(searcher.search("has:described")) == names(searcher.search("has:answers")) == ["night.jpg"]


def test_photos_that_nobody_judged_come_last_in_the_order_of_aesthetics(searcher: Searcher) -> None:
    found = names(searcher.search("in:2024 OR in:2022 order:aesthetics", limit=100))
    assert found[0] == "night.jpg"
    assert len(found) == 3
    assert searcher.facets("in:2024", ["aesthetics"]) == {"aesthetics": [("6", 1), ("", 1)]}


# -- counts and facets -----------------------------------------------------------------------------


def test_a_count_is_of_all_photos_for_filters_and_of_the_found_ones_for_words(searcher: Searcher) -> None:
    assert searcher.count("camera:nikon") == 31
    assert searcher.count("dog") == 2
    assert searcher.count("submarine") == 0
    assert searcher.count("dog OR camera:sony") == 32


def test_facets_divide_what_a_query_finds(searcher: Searcher) -> None:
    facets = searcher.facets("iso:1..", ["camera", "year", "iso"])
    assert facets["camera"] == [("Nikon Z 6", 30), ("Sony A7 IV", 30)]
    assert facets["year"] == [("2020", 60)]
    assert facets["iso"] == [("400", 15), ("300", 15), ("200", 15), ("100", 15)]
    found = searcher.facets("dog", ["year", "country", "label", "person", "keyword", "month"])
    assert found["year"] == [("2023", 2)]
    assert found["month"] == [("2023-06", 2)]
    assert found["country"] == [("Norway", 1), ("", 1)]
    assert found["label"] == [("", 2)]
    assert found["person"] == [("Anna Núñez", 1)]
    assert searcher.facets("label:red", ["keyword"]) == {"keyword": [("Money|Paid", 1)]}


def test_facets_say_what_was_counted_on_some_photos_only(
    searcher: Searcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("catalogd.query.facets.MOST_READ", 10)
    monkeypatch.setattr("catalogd.query.execution.MOST_CANDIDATES", 4)
    assert searcher.divided("iso:1..", ["keyword"]).notes == ("keyword: of the newest 10 of 60 photos",)
    assert searcher.divided("dog", ["year"]).notes == ("of the best 2 photos",)


def test_an_unknown_facet_names_those_there_are(searcher: Searcher) -> None:
    with pytest.raises(UsageError, match="there are camera, lens"):
        searcher.facets("dog", ["colour"])


# -- explanations ----------------------------------------------------------------------------------


def test_an_explanation_tells_how_a_query_was_read_and_what_each_step_left(searcher: Searcher) -> None:
    explanation = searcher.search("dog camera:nikon iso:..200", explain=True).explanation
    assert explanation is not None
    assert explanation.read_as[0].startswith("words: dog")
    steps = {step.name: step for step in explanation.steps}
    assert steps["camera:nikon"].photos is not None
    assert steps["filters"].photos == 15
    assert steps["meaning"].note == "the nearest of 15"
    assert {"words to a vector", "words", "fusion"} <= steps.keys()
    assert searcher.search("dog").explanation is None


# -- a catalog that lives --------------------------------------------------------------------------


def test_a_searcher_sees_what_is_committed_meanwhile(tmp_path: Path) -> None:
    settings = filled(tmp_path / "catalog", others(20))
    with Searcher(settings, Encoder()) as searcher:
        assert searcher.search("dog").hits == ()
        with Catalog.open(settings.catalog, settings, write=True) as catalog:
            catalog.commit([told()[0]], PROFILE)
            catalog.follow(force=True)
        assert names(searcher.search("dog")) == ["dog_1.jpg"]
        assert searcher.count("rating:5") == 4


def test_threads_share_one_searcher(searcher: Searcher) -> None:
    queries = ["dog", "beach", "camera:sony", "similar:dog_1.jpg", "total", "dog OR beach"]
    alone = {query: names(searcher.search(query)) for query in queries}
    found: list[tuple[str, list[str]]] = []

    def ask() -> None:
        for query in queries * 3:
            found.append((query, names(searcher.search(query))))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 * 3 * len(queries)
    assert all(alone[query] == paths for query, paths in found)


def test_without_a_catalog_a_searcher_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(CatalogMissingError, match="catalogd run"):
        Searcher(Settings(catalog=tmp_path / "nothing"), Encoder())
