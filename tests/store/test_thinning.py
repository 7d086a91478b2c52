"""Few of many: which ones are taken, and that they stay the same as more come."""

from itertools import pairwise

from nas.store.thinning import ends_and_between, spread, stride, turned


def test_an_even_sample_takes_numbers_by_their_bits_in_reverse() -> None:
    assert [turned(number) for number in (0, 1, 2, 3, 2**30)] == [0, 2**30, 2**29, 2**30 + 2**29, 1]
    assert spread(range(16), 6, int) == [0, 8, 4, 12, 2, 10]
    assert spread(range(5), 9, int) == [0, 4, 2, 1, 3]


def test_an_even_sample_is_even_at_every_size() -> None:
    for count in (1, 3, 7, 64, 100, 333):
        shown = sorted(spread(range(1000), count, int))
        assert len(shown) == count
        gaps = [b - a for a, b in pairwise([*shown, 1000 + shown[0]])]
        assert max(gaps) <= 2 * max(1000 / count, min(gaps)) + 1024 / count


def test_one_more_trial_puts_at_most_one_out_of_the_sample() -> None:
    before: set[int] = set()
    for total in range(1, 300):
        shown = set(spread(range(total), 20, int))
        assert len(before - shown) <= 1
        before = shown


def test_a_stride_leaves_as_many_as_are_wanted() -> None:
    for count in (0, 1, 5, 64, 1000):
        for wanted in (1, 2, 7, 200):
            step = stride(count, wanted)
            assert step & (step - 1) == 0
            assert step == 1 or len(range(0, count, step)) >= wanted
            assert 2 * step * wanted > count


def test_of_a_series_both_ends_are_shown_and_what_lies_evenly_between() -> None:
    assert ends_and_between([], 3) == []
    assert ends_and_between([1, 2], 3) == [1, 2]
    assert ends_and_between(range(101), 5) == [0, 25, 50, 75, 100]
    assert ends_and_between(range(10), 2) == [0, 9]
