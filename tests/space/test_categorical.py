from collections import Counter

import numpy as np
import pytest

from nas.space import Categorical, CategoricalSpace, Choices

SPACE = CategoricalSpace({"op": ("conv", "pool"), "width": (8, 16, 32), "bias": (False, True)})
CANDIDATE = Choices((("op", "conv"), ("width", 16), ("bias", True)))


def test_a_candidate_is_a_mapping_of_names_to_choices() -> None:
    assert dict(CANDIDATE) == CANDIDATE.to_json() == {"op": "conv", "width": 16, "bias": True}
    assert (CANDIDATE["width"], CANDIDATE.get("depth"), len(CANDIDATE), list(CANDIDATE)) == (
        16,
        None,
        3,
        ["op", "width", "bias"],
    )
    with pytest.raises(KeyError):
        CANDIDATE["depth"]


def test_all_combinations_are_equally_likely() -> None:
    rng = np.random.default_rng(0)
    drawn = Counter(SPACE.sample(rng) for _ in range(6_000))
    assert len(drawn) == 12
    assert sum((count - 500) ** 2 / 500 for count in drawn.values()) < 31.3  # 11 degrees of freedom, once in a thousand


def test_spaces_with_the_same_choices_are_equal() -> None:
    again = CategoricalSpace({"op": ["conv", "pool"], "width": [8, 16, 32], "bias": [False, True]})
    assert again == SPACE
    assert hash(again) == hash(SPACE)
    assert CategoricalSpace({"op": ["conv", "pool"]}) != SPACE
    assert SPACE != "a space"
    assert SPACE.distributions()["width"] == Categorical((8, 16, 32))
    assert eval(repr(SPACE)) == SPACE  # noqa: S307


@pytest.mark.parametrize(
    "items",
    [
        (("op", "conv"), ("width", 16)),
        (("op", "conv"), ("width", 16), ("bias", True), ("depth", 1)),
        (("op", "conv"), ("width", 16), ("bias", 1)),
        (("op", "conv"), ("width", 16.0), ("bias", True)),
        (("op", "conv"), ("width", 64), ("bias", True)),
        (("op", "conv"), ("width", "16"), ("bias", True)),
        (("op", None), ("width", 16), ("bias", True)),
        (("width", 16), ("op", "conv"), ("bias", True)),
        (),
    ],
)
def test_other_choices_are_not_of_the_space(items: tuple[tuple[str, str | float | bool | None], ...]) -> None:
    assert SPACE.contains(CANDIDATE)
    assert not SPACE.contains(Choices(items))
    with pytest.raises(ValueError, match="is not a candidate of"):
        SPACE.encode(Choices(items))


def test_digests_tell_all_candidates_apart() -> None:
    candidates = {CANDIDATE, *SPACE.neighbours(CANDIDATE)}
    assert len({SPACE.digest(candidate) for candidate in candidates}) == len(candidates) == 5


@pytest.mark.parametrize("choices", [(), ("a", "a"), (1, True), (1, 1.0)])
def test_a_parameter_without_choices_or_with_two_that_are_equal_is_refused_by_name(choices: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"depth: .*choices that all differ"):
        CategoricalSpace({"width": (8, 16), "depth": choices})


def test_a_space_without_parameters_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a parameter"):
        CategoricalSpace({})
