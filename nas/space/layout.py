"""Where the reductions of a stack of cells are, and how small an image it can take."""

from nas.space.shape import Shape

IMAGENET_STEM = 3
"""Halvings in the stem of that name."""


def reduction_cells(cells: int) -> tuple[int, ...]:
    """Indices of the reduction cells: at 1/3 and 2/3 of the depth (Liu et al. 2019, section 3.1.1)."""
    return tuple(sorted({cells // 3, 2 * cells // 3}))


def is_reduction(shape: Shape) -> tuple[bool, ...]:
    """For each cell of the network, `tail` included, whether it is a reduction cell; at least one cell is left."""
    kinds = [index in reduction_cells(shape.cells) for index in range(shape.cells)]
    if shape.tail >= 0:
        return tuple(kinds + [False] * shape.tail)
    return tuple(kinds[: max(1, shape.cells + shape.tail)])


def halvings(shape: Shape) -> int:
    """How often the network halves its image."""
    return sum(is_reduction(shape)) + (IMAGENET_STEM if shape.stem == "imagenet" else 0)


def smallest_input(shape: Shape) -> int:
    """The smallest image side for that frame: every reduction halves it evenly, and the last leaves 2×2 pixels."""
    return 2 << halvings(shape)
