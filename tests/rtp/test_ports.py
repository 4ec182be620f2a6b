import pytest
from hypothesis import given
from hypothesis import strategies as st

from vb.rtp.ports import OS_CHOSEN, PortPool, PortsExhausted


def test_every_pair_begins_with_an_even_port_and_fits_the_range() -> None:
    pool = PortPool(10_001, 10_010)
    ports = [pool.take() for _ in range(pool.capacity)]
    assert ports == [10_002, 10_004, 10_006, 10_008]


def test_last_port_of_the_range_is_used_for_rtcp() -> None:
    assert [PortPool(10_000, 10_001).take()] == [10_000]


def test_exhausted_pool_says_so() -> None:
    pool = PortPool(10_000, 10_003)
    pool.take()
    pool.take()
    with pytest.raises(PortsExhausted, match="2 RTP port pairs"):
        pool.take()


def test_released_pair_is_available_again() -> None:
    pool = PortPool(10_000, 10_001)
    port = pool.take()
    pool.release(port)
    assert pool.take() == port


def test_released_pair_waits_until_all_the_others_had_their_turn() -> None:
    pool = PortPool(10_000, 10_005)
    first = pool.take()
    pool.release(first)
    assert [pool.take() for _ in range(3)] == [10_002, 10_004, first]


def test_second_release_changes_nothing() -> None:
    pool = PortPool(10_000, 10_003)
    port = pool.take()
    pool.release(port)
    pool.release(port)
    assert pool.free == 2
    assert pool.take() != pool.take()


@pytest.mark.parametrize("port", [0, 9_998, 10_001, 65_536])
def test_release_of_a_foreign_port_changes_nothing(port: int) -> None:
    pool = PortPool(10_000, 10_003)
    pool.release(port)
    assert pool.free == 2


@pytest.mark.parametrize(
    ("first", "last"),
    [(10_001, 10_002), (10_000, 10_000), (10_004, 10_000), (0, 100), (-2, 4), (65_534, 65_536)],
)
def test_range_without_a_pair_is_refused(first: int, last: int) -> None:
    with pytest.raises(ValueError, match="to"):
        PortPool(first, last)


def test_zero_leaves_the_choice_to_the_operating_system() -> None:
    pool = PortPool(0, 0)
    assert pool.os_chosen
    assert [pool.take() for _ in range(3)] == [OS_CHOSEN] * 3
    pool.release(OS_CHOSEN)
    assert pool.take() == OS_CHOSEN


@given(st.lists(st.integers(0, 12), max_size=80))
def test_no_pair_is_ever_taken_twice(steps: list[int]) -> None:
    pool = PortPool(20_000, 20_019)
    taken: set[int] = set()
    for step in steps:
        if step < 7 and pool.free:
            port = pool.take()
            assert port not in taken
            taken.add(port)
        elif taken:
            port = sorted(taken)[step % len(taken)]
            pool.release(port)
            taken.remove(port)
        assert pool.free == 10 - len(taken)
