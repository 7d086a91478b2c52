import pytest

from nas.errors import SpaceExhausted
from nas.search.prepared import Prepared, refuses
from nas.space import CellSpace, Integer, JointSpace, LayerSpace
from tests.search.histories import completed, draw

CELLS = CellSpace(("skip_connect", "sep_conv_3x3"), nodes=2)


def test_a_supernets_strategy_adds_nothing_to_its_genotypes() -> None:
    for count in (0, 1, 10):
        with pytest.raises(SpaceExhausted, match="the supernet's genotypes are all tried"):
            Prepared().propose(CELLS, completed(draw(CELLS, count)), 0)


def test_only_cells_in_a_fixed_frame_share_their_weights() -> None:
    assert refuses(CELLS) is None
    for space in (JointSpace(CELLS, (("space.channels", Integer(4, 8)),)), JointSpace(CELLS, ()), LayerSpace(most=3)):
        why = refuses(space)
        assert why is not None
        assert "search for cells, and give all other fields a value" in why
