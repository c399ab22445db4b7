"""Ids of events."""

from services.track.ulid import ALPHABET, LENGTH, new_ulid


def test_an_id_is_26_letters_that_sort_by_time_and_never_come_twice() -> None:
    ids = [new_ulid(millisecond * 1_000_000) for millisecond in range(1_700_000_000_000, 1_700_000_000_500)]
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)
    assert all(len(one) == LENGTH and set(one) <= set(ALPHABET) and one[0] <= "7" for one in ids)
    assert len({new_ulid(0) for _ in range(1000)}) == 1000


def test_the_time_part_is_that_of_the_specification() -> None:
    assert new_ulid(1469918176385 * 1_000_000)[:10] == "01ARYZ6S41"
