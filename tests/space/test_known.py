import pytest

from nas.errors import NotFound
from nas.space import Edge, from_text, known, to_text
from nas.space.known import KNOWN


@pytest.mark.parametrize("name", KNOWN)
def test_a_published_genotype_survives_its_text(name: str) -> None:
    genotype = known(name)
    assert from_text(f"{name} = {to_text(genotype)}") == genotype


@pytest.mark.parametrize(
    ("name", "nodes", "normal_concat", "reduce_concat"),
    [
        ("DARTS_V1", 4, (2, 3, 4, 5), (2, 3, 4, 5)),
        ("DARTS_V2", 4, (2, 3, 4, 5), (2, 3, 4, 5)),
        ("NASNet", 5, (2, 3, 4, 5, 6), (4, 5, 6)),
        ("AmoebaNet", 5, (4, 5, 6), (3, 4, 6)),
    ],
)
def test_a_published_genotype_has_the_size_of_its_paper(
    name: str, nodes: int, normal_concat: tuple[int, ...], reduce_concat: tuple[int, ...]
) -> None:
    genotype = known(name)
    assert len(genotype.normal.nodes) == len(genotype.reduce.nodes) == nodes
    assert (genotype.normal.concat, genotype.reduce.concat) == (normal_concat, reduce_concat)
    assert all(len(edges) == 2 for cell in (genotype.normal, genotype.reduce) for edges in cell.nodes)


def test_the_last_node_of_darts_v2_is_as_published() -> None:
    assert known("DARTS_V2").normal.nodes[3] == (Edge("skip_connect", 0), Edge("dil_conv_3x3", 2))
    assert known("DARTS_V2").reduce.nodes[3] == (Edge("skip_connect", 2), Edge("max_pool_3x3", 1))


def test_the_published_genotypes_differ() -> None:
    assert len({known(name) for name in KNOWN}) == len(KNOWN) >= 4


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(NotFound, match=r"'DARTS_V3'.*DARTS_V1, DARTS_V2, NASNet, AmoebaNet"):
        known("DARTS_V3")
