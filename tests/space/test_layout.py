import pytest

from nas.space import Shape, is_reduction, reduction_cells, smallest_input


@pytest.mark.parametrize(
    ("cells", "expected"), [(1, (0,)), (2, (0, 1)), (3, (1, 2)), (4, (1, 2)), (5, (1, 3)), (8, (2, 5)), (20, (6, 13))]
)
def test_reductions_are_at_a_third_and_two_thirds_of_the_depth(cells: int, expected: tuple[int, ...]) -> None:
    assert reduction_cells(cells) == expected
    assert is_reduction(Shape(cells=cells)) == tuple(index in expected for index in range(cells))


@pytest.mark.parametrize(
    ("cells", "tail", "kinds"),
    [
        (4, 0, "nrrn"),
        (4, 2, "nrrnnn"),
        (1, 3, "rnnn"),
        (4, -1, "nrr"),
        (4, -2, "nr"),
        (4, -3, "n"),
        (4, -4, "n"),
        (1, -40, "r"),
    ],
)
def test_a_tail_adds_normal_cells_or_leaves_the_last_ones_out_but_one(cells: int, tail: int, kinds: str) -> None:
    assert is_reduction(Shape(cells=cells, tail=tail)) == tuple(kind == "r" for kind in kinds)


@pytest.mark.parametrize(
    ("shape", "side"),
    [
        (Shape(cells=1), 4),
        (Shape(cells=2), 8),
        (Shape(cells=3), 8),
        (Shape(cells=20), 8),
        (Shape(cells=4, tail=9), 8),
        (Shape(cells=4, tail=-2), 4),
        (Shape(cells=4, tail=-3), 2),
        (Shape(cells=1, stem="imagenet"), 32),
        (Shape(cells=20, stem="imagenet"), 64),
    ],
)
def test_the_smallest_image_is_halved_to_two_pixels(shape: Shape, side: int) -> None:
    assert smallest_input(shape) == side
    halvings = sum(is_reduction(shape)) + (3 if shape.stem == "imagenet" else 0)
    assert side / 2**halvings == 2
