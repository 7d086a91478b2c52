import subprocess
import sys
from itertools import product

import numpy as np
import pytest

from nas.seeds import derive


def test_a_seed_is_the_same_in_another_process() -> None:
    code = "from nas.seeds import derive; print(derive(3, 'train', 7))"
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert int(printed) == derive(3, "train", 7)


def test_a_seed_is_the_same_in_another_version() -> None:
    """A job goes on with the numbers that it began with, whatever has been installed in between."""
    assert derive(0, "propose", 0, 0) == 921_589_302
    assert derive(7, "train", 12) == 1_056_229_381


def test_a_seed_suits_every_generator() -> None:
    for number in range(100):
        assert 0 <= derive(number, "train") < 2**32


def test_different_paths_have_different_seeds() -> None:
    paths = list(product(range(5), ("train", "propose"), range(1, 5), range(1, 5)))
    assert len({derive(*path) for path in paths}) == len(paths)
    assert derive(1, "a", "b") != derive(1, "b", "a")
    assert derive(1, 2) != derive(2, 1)


@pytest.mark.parametrize("shorter", [(), ("epoch",), ("epoch", 1), ("epoch", 0)], ids=str)
def test_a_zero_more_is_another_path(shorter: tuple[int | str, ...]) -> None:
    assert derive(5, *shorter) != derive(5, *shorter, 0)


def test_streams_of_neighbouring_paths_are_not_correlated() -> None:
    one, other = (np.random.default_rng(derive(0, "train", number)).random(10_000) for number in (1, 2))
    assert abs(float(np.corrcoef(one, other)[0, 1])) < 0.05
