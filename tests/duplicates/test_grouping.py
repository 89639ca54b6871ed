"""Groups of pairs: stars around a keeper, never chains."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from catalogd.duplicates.grouping import burst, components, stars
from catalogd.duplicates.judging import EXACT, NEAR, SAME, Likeness, Photo
from catalogd.records import Facts, Stat

pairs = st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), max_size=40)


def photo(number: int) -> Photo:
    """The smaller the number, the more pixels."""
    return Photo(
        number, b"/%02d" % number, Stat(number, 1), b"", Facts("jpeg", 9000 // number, 100), 0.0, b""
    )


@given(pairs)
def test_components_hold_each_photo_once_with_all_it_is_paired_with(chosen: list[tuple[int, int]]) -> None:
    found = components(chosen)
    assert sorted(number for group in found for number in group) == sorted(
        {n for pair in chosen for n in pair}
    )
    assert all(any({left, right} <= set(group) for group in found) for left, right in chosen)
    assert found == sorted(found)


def test_a_chain_is_no_group_what_is_unlike_the_keeper_finds_its_own() -> None:
    alike = {(1, 2), (2, 3), (3, 4)}

    def likeness(a: Photo, b: Photo) -> Likeness | None:
        pair = min(a.photo_id, b.photo_id), max(a.photo_id, b.photo_id)
        return Likeness(SAME, "") if pair in alike else None

    found = list(stars([photo(number) for number in (4, 2, 3, 1)], likeness))
    assert [
        (group.keeper.photo_id, [member.photo.photo_id for member in group.others]) for group in found
    ] == [
        (1, [2]),
        (3, [4]),
    ]


def test_a_group_is_of_the_kind_that_is_least_alike_and_sums_what_it_saves() -> None:
    kinds = {2: NEAR, 3: EXACT, 4: SAME}
    [found] = stars([photo(number) for number in (1, 2, 3, 4)], lambda a, b: Likeness(kinds[b.photo_id], ""))
    assert found.kind == NEAR
    assert [member.photo.photo_id for member in found.others] == [3, 4, 2]
    assert found.saves_bytes == 9


def test_a_burst_saves_nothing() -> None:
    assert burst(photo(1), [photo(2)]).saves_bytes == 0
