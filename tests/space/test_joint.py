import numpy as np
import pytest

from nas.space import (
    Candidate,
    Categorical,
    CellSpace,
    FixedSpace,
    Integer,
    JointSpace,
    Layer,
    LayerNet,
    LayerSpace,
    Real,
    Shape,
    known,
)

BASE = CellSpace(("skip_connect", "sep_conv_3x3"), 1, Shape(channels=5, cells=3))
SPACE = JointSpace(
    BASE,
    (
        ("space.channels", Integer(4, 64, log=True)),
        ("space.norm", Categorical(("batch", "group"))),
        ("recipe.lr", Real(1e-3, 1e-1, log=True)),
        ("recipe.clip_norm", Categorical((None, 5.0))),
    ),
)
VALUES = {
    "normal.2.op_a": "skip_connect",
    "normal.2.op_b": "sep_conv_3x3",
    "reduce.2.op_a": "skip_connect",
    "reduce.2.op_b": "skip_connect",
    "space.channels": 32,
    "space.norm": "group",
    "recipe.lr": 0.01,
    "recipe.clip_norm": None,
}


def test_the_parameters_are_those_of_the_architecture_and_what_is_open() -> None:
    assert dict(SPACE.distributions()) == BASE.distributions() | dict(SPACE.parameters)
    assert set(SPACE.distributions()) == set(VALUES)


def test_what_is_chosen_stands_in_the_frame_and_in_the_recipe() -> None:
    candidate = SPACE.decode(VALUES)
    assert candidate.architecture == BASE.decode(VALUES).architecture
    assert candidate.shape == Shape(channels=32, cells=3, norm="group")
    assert candidate.recipe == (("clip_norm", None), ("lr", 0.01))
    assert SPACE.encode(candidate) == VALUES


def test_candidates_that_differ_in_what_is_open_have_different_digests() -> None:
    others = {"space.channels": 33, "space.norm": "batch", "recipe.lr": 0.02, "recipe.clip_norm": 5.0}
    candidates = [SPACE.decode(VALUES)] + [SPACE.decode(VALUES | {name: value}) for name, value in others.items()]
    assert len({SPACE.digest(candidate) for candidate in candidates}) == 5


@pytest.mark.parametrize(
    ("shape", "recipe"),
    [
        (Shape(channels=3, cells=3), {"lr": 0.01, "clip_norm": None}),
        (Shape(channels=65, cells=3), {"lr": 0.01, "clip_norm": None}),
        (Shape(channels=32, cells=3, norm="none"), {"lr": 0.01, "clip_norm": None}),
        (Shape(channels=32, cells=4), {"lr": 0.01, "clip_norm": None}),
        (Shape(channels=32, cells=3, activation="gelu"), {"lr": 0.01, "clip_norm": None}),
        (Shape(channels=32, cells=3), {"lr": 0.2, "clip_norm": None}),
        (Shape(channels=32, cells=3), {"lr": 0.01, "clip_norm": 1.0}),
        (Shape(channels=32, cells=3), {"lr": 0.01, "clip_norm": False}),
        (Shape(channels=32, cells=3), {"lr": 0.01}),
        (Shape(channels=32, cells=3), {}),
        (Shape(channels=32, cells=3), {"lr": 0.01, "clip_norm": None, "ema": 0.9}),
        (Shape(channels=32, cells=3), {"lr": "0.01", "clip_norm": None}),
    ],
)
def test_other_frames_and_recipes_are_not_of_the_space(
    shape: Shape, recipe: dict[str, str | float | bool | None]
) -> None:
    cells = BASE.decode(VALUES).architecture
    good = Candidate(cells, Shape(channels=32, cells=3), (("clip_norm", None), ("lr", 0.01)))
    assert SPACE.contains(good)
    foreign = Candidate(cells, shape, tuple(sorted(recipe.items())))
    assert not SPACE.contains(foreign)
    with pytest.raises(ValueError, match="is not a candidate of"):
        SPACE.encode(foreign)


@pytest.mark.parametrize(
    "recipe",
    [(("lr", 0.01), ("clip_norm", None)), (("clip_norm", None), ("lr", 0.01), ("lr", 0.01))],
    ids=["unsorted", "twice"],
)
def test_a_recipe_in_another_form_is_not_of_the_space(recipe: tuple[tuple[str, float | None], ...]) -> None:
    shape = Shape(channels=32, cells=3)
    assert not SPACE.contains(Candidate(BASE.decode(VALUES).architecture, shape, recipe))


def test_an_architecture_of_another_kind_is_not_of_the_space() -> None:
    layers = Candidate(LayerNet((Layer("conv", 16),)), Shape(channels=32, cells=3), (("clip_norm", None), ("lr", 0.01)))
    assert not SPACE.contains(layers)
    assert not JointSpace(LayerSpace(), ()).contains(SPACE.decode(VALUES))


def test_a_fixed_architecture_is_searched_for_its_frame_and_recipe_only() -> None:
    source = Candidate(known("DARTS_V2"), Shape(channels=6, cells=5), (("ema", 0.9), ("lr", 0.5)))
    space = JointSpace(FixedSpace(source), (("space.tail", Integer(-1, 1)), ("recipe.lr", Real(0.01, 0.1))))
    rng = np.random.default_rng(0)
    drawn = [space.sample(rng) for _ in range(60)]
    assert {candidate.shape for candidate in drawn} == {Shape(channels=6, cells=5, tail=tail) for tail in (-1, 0, 1)}
    for candidate in drawn:
        assert candidate.architecture == source.architecture
        assert [name for name, _ in candidate.recipe] == ["lr"]  # what the source chose of its recipe is gone
        assert space.contains(candidate)
    assert not space.contains(source)
    other = Candidate(known("DARTS_V1"), drawn[0].shape, drawn[0].recipe)
    assert not space.contains(other)


def test_a_single_architecture_is_a_space_of_its_own() -> None:
    candidate = Candidate(known("DARTS_V2"), Shape(channels=6), (("lr", 0.5),))
    space = FixedSpace(candidate)
    assert space.contains(candidate)
    assert space.sample(np.random.default_rng(0)) == candidate
    assert space.encode(candidate) == {}
    assert not space.contains(Candidate(known("DARTS_V2"), Shape(channels=6)))
    assert not space.contains(Candidate(known("DARTS_V1"), Shape(channels=6), (("lr", 0.5),)))
