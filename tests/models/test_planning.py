"""The memory plan: nothing that does not fit, as little loading as can be."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalogd.models.planning import LOAD_SHARE, RESERVE_BYTES, Need, Plan, plan, usable_bytes

GIB = 1 << 30


def need(name: str, weights_gib: float, load_s: float = 2.0, frame_s: float = 0.01, batch: int = 0) -> Need:
    return Need(name, int(weights_gib * GIB), 10 << 20, batch, load_s, frame_s)


def most_bytes(made: Plan, needs: list[Need], batch: int) -> int:
    """What lies in memory in the fullest phase."""
    phases = made.phases or ((),)
    loaded = [
        [each for each in needs if each.name in made.resident or each.name in names] for names in phases
    ]
    return max(
        sum(each.weights_bytes for each in some)
        + max((each.working_bytes(batch) for each in some), default=0)
        for some in loaded
    )


def test_what_fits_stays_together_and_a_group_is_a_batch() -> None:
    needs = [need("a", 2), need("b", 3)]
    assert plan(needs, 6 * GIB, 32, 500) == Plan((), frozenset("ab"), 32)


def test_without_a_known_limit_everything_stays() -> None:
    assert plan([need("a", 900)], 0, 8, 26).all_stay


def test_working_memory_counts_once_as_models_run_one_after_the_other() -> None:
    needs = [Need(name, GIB, GIB // 32) for name in "abc"]
    assert plan(needs, 4 * GIB, 32, 500).all_stay
    assert not plan(needs, 4 * GIB - 1, 32, 500).all_stay


def test_a_smaller_batch_that_was_learned_makes_room() -> None:
    needs = [Need("a", GIB, GIB // 8, batch=4), need("b", 0.5)]
    assert plan(needs, 2 * GIB, 8, 500).all_stay
    assert not plan([Need("a", GIB, GIB // 8), need("b", 0.5)], 2 * GIB, 8, 500).all_stay


def test_those_stay_whose_loading_costs_most() -> None:
    needs = [need("slow", 4, load_s=30), need("one", 3, 1), need("small", 1, load_s=5), need("two", 3, 1)]
    made = plan(needs, int(8.5 * GIB), 8, 5000)
    assert made.resident == frozenset({"slow", "small"})
    assert made.phases == (("one",), ("two",))


def test_phases_keep_the_order_in_which_models_run_and_are_as_few_as_fit() -> None:
    needs = [need("a", 4), need("b", 4), need("c", 4), need("d", 4)]
    made = plan(needs, int(8.5 * GIB), 8, 5000)
    assert len(made.resident) == 1
    coming = [name for phase in made.phases for name in phase]
    assert coming == sorted(coming)
    assert len(coming) == 3


def test_a_group_is_as_long_as_loading_takes_to_be_a_small_share() -> None:
    needs = [need("a", 4, load_s=2, frame_s=0.02), need("b", 4, load_s=2, frame_s=0.02)]
    made = plan(needs, 5 * GIB, 8, 100_000)
    assert made.load_share <= LOAD_SHARE
    shorter = made.group - 8
    assert 4 / (4 + shorter * 0.04) > LOAD_SHARE, "a batch less would not do"
    assert made.group % 8 == 0


def test_a_ring_that_is_too_small_bounds_the_group_and_the_plan_says_what_would_do() -> None:
    needs = [need("a", 4, load_s=2, frame_s=0.02), need("b", 4, load_s=2, frame_s=0.02)]
    made = plan(needs, 5 * GIB, 8, 26)
    assert made.group == 24
    assert made.load_share > LOAD_SHARE
    assert made.enough == plan(needs, 5 * GIB, 8, 100_000).group


def test_a_model_that_is_larger_than_the_memory_is_planned_alone() -> None:
    made = plan([need("huge", 40), need("a", 1), need("b", 1)], 8 * GIB, 8, 500)
    assert ("huge",) in made.phases
    assert not made.resident


def test_what_others_took_and_a_reserve_are_left_out() -> None:
    assert usable_bytes(16 * GIB, 2 * GIB) < 14 * GIB - RESERVE_BYTES
    assert usable_bytes(2 * GIB, 2 * GIB) == 0
    assert usable_bytes(100 << 20, 0) == 0


needs_of_models = st.lists(
    st.builds(
        Need,
        st.just(""),
        st.integers(0, 8 * GIB),
        st.integers(0, GIB // 16),
        st.integers(0, 16),
        st.floats(0.01, 30),
        st.floats(0.0001, 1),
    ),
    min_size=1,
    max_size=7,
)


@given(needs_of_models, st.integers(9 * GIB, 40 * GIB), st.integers(1, 16), st.integers(16, 4000))
def test_no_plan_loads_more_than_fits_or_forgets_a_model(
    some: list[Need], usable: int, batch: int, most: int
) -> None:
    needs = [
        Need(str(number), one.weights_bytes, one.frame_bytes, one.batch, one.load_s, one.frame_s)
        for number, one in enumerate(some)
    ]
    made = plan(needs, usable, batch, most)
    assert most_bytes(made, needs, batch) <= usable
    planned = [*made.resident, *itertools.chain(*made.phases)]
    assert sorted(planned) == sorted(one.name for one in needs)
    assert batch <= made.group <= max(most, batch)
    assert made.load_share <= LOAD_SHARE or made.group > most - batch


@pytest.mark.parametrize("count", [9, 14])
def test_many_models_are_planned_in_a_moment(count: int) -> None:
    made = plan([need(str(number), 1 + number % 3) for number in range(count)], 8 * GIB, 8, 5000)
    assert not made.all_stay
