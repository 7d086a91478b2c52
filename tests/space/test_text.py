import os
from pathlib import Path

import pytest
from hypothesis import given

from nas.errors import GenotypeError
from nas.space import Cell, Edge, Genotype, from_text, to_text
from tests.space.given import genotypes

NORMAL = "[('sep_conv_3x3', 0), ('skip_connect', 1), ('max_pool_3x3', 2), ('none', 0)]"
REDUCE = "[('avg_pool_3x3', 1), ('dil_conv_5x5', 0)]"
GENOTYPE = Genotype(
    normal=Cell(
        ((Edge("sep_conv_3x3", 0), Edge("skip_connect", 1)), (Edge("max_pool_3x3", 2), Edge("none", 0))), (2, 3)
    ),
    reduce=Cell(((Edge("avg_pool_3x3", 1), Edge("dil_conv_5x5", 0)),), (2,)),
)


def written(
    normal: str = NORMAL, normal_concat: str = "[2, 3]", reduce: str = REDUCE, reduce_concat: str = "[2]"
) -> str:
    return f"Genotype(normal={normal}, normal_concat={normal_concat}, reduce={reduce}, reduce_concat={reduce_concat})"


@given(genotypes(edges=(2, 2)))
def test_a_genotype_of_two_edges_a_node_comes_back_from_its_text(genotype: Genotype) -> None:
    assert from_text(to_text(genotype)) == genotype


def test_a_genotype_is_written_as_the_darts_code_prints_it() -> None:
    assert to_text(GENOTYPE) == written()


@pytest.mark.parametrize("name", ["normal", "reduce"])
@pytest.mark.parametrize("edges", [1, 3])
def test_a_node_that_has_not_two_edges_has_no_text(name: str, edges: int) -> None:
    odd = Cell(((Edge("none", 0),) * 2, (Edge("none", 0),) * edges), (2, 3))
    genotype = Genotype(**{"normal": GENOTYPE.normal, "reduce": GENOTYPE.reduce} | {name: odd})
    with pytest.raises(GenotypeError) as caught:
        to_text(genotype)
    assert (caught.value.field, caught.value.value) == (name, [2, edges])


@pytest.mark.parametrize(
    "text",
    [
        written(),
        written(normal_concat="(2, 3)"),
        written(normal_concat="range(2, 4)"),
        written(normal_concat="range(2, 4, 1)"),
        written(reduce_concat="range(2, 3)"),
        f"Found = {written()}",
        f"Genotype({NORMAL}, [2, 3], {REDUCE}, [2])",
        f"Genotype({NORMAL}, [2, 3], reduce_concat=[2], reduce={REDUCE})",
        f"\n    {written()}\n\n",
        written(normal=NORMAL.replace(", (", ",\n    (")),
        written(normal=NORMAL.replace("'", '"')),
        f"# from a paper\n{written()}  # its best cell",
    ],
)
def test_the_ways_to_print_a_genotype_are_all_read(text: str) -> None:
    assert from_text(text) == GENOTYPE


def test_a_range_names_the_nodes_of_the_published_cells() -> None:
    nodes = ", ".join(["('skip_connect', 0), ('skip_connect', 1)"] * 4)
    text = written(normal=f"[{nodes}]", normal_concat="range(2, 6)")
    assert from_text(text).normal.concat == (2, 3, 4, 5)


def test_the_order_of_the_output_is_kept() -> None:
    assert from_text(written(normal_concat="[3, 0, 2]")).normal.concat == (3, 0, 2)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "Genotype",
        "Genotype()",
        "None",
        "3",
        written()[:-1],
        written() + ")",
        written() + "; " + written(),
        f"{written()}\n{written()}",
        written().replace("Genotype", "genotype"),
        written().replace("Genotype", "darts.Genotype"),
        f"return {written()}",
        f"x: object = {written()}",
        f"x += {written()}",
        f"({written()},)",
        f"Genotype({NORMAL}, [2, 3], {REDUCE})",
        f"Genotype({NORMAL}, [2, 3], {REDUCE}, [2], [2])",
        f"Genotype({NORMAL}, normal={NORMAL}, normal_concat=[2, 3], reduce={REDUCE}, reduce_concat=[2])",
        f"Genotype(*{NORMAL})",
        "Genotype(**{'normal': []})",
        written()[:-1] + ", name='x')",
        written(normal="[]"),
        written(normal="[('sep_conv_3x3', 0)]"),
        written(normal="[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('skip_connect', 0)]"),
        written(normal="[('sep_conv_3x3', 0, 1), ('sep_conv_3x3', 1)]"),
        written(normal="[('sep_conv_3x3',), ('sep_conv_3x3', 1)]"),
        written(normal="['sep_conv_3x3', 'sep_conv_3x3']"),
        written(normal="[('sep_conv_4x4', 0), ('sep_conv_3x3', 1)]"),
        written(normal="[(b'sep_conv_3x3', 0), ('sep_conv_3x3', 1)]"),
        written(normal="[([], 0), ('sep_conv_3x3', 1)]"),
        written(normal="[(0, 'sep_conv_3x3'), ('sep_conv_3x3', 1)]"),
        written(normal="[('sep_conv_3x3', 0), ('sep_conv_3x3', 2)]"),
        written(normal="[('sep_conv_3x3', -1), ('sep_conv_3x3', 1)]"),
        written(normal="[('sep_conv_3x3', True), ('sep_conv_3x3', 0)]"),
        written(normal="[('sep_conv_3x3', 0.0), ('sep_conv_3x3', 1)]"),
        written(normal="[('sep_conv_3x3', 0j), ('sep_conv_3x3', 1)]"),
        written(normal="[('sep_conv_3x3', 1 - 1), ('sep_conv_3x3', 1)]"),
        written(normal="[('none', 0) for i in range(2)]"),
        written(normal="[('none', 0)] * 2"),
        written(normal="3"),
        written(normal="PRIMITIVES"),
        written(normal_concat="[]"),
        written(normal_concat="2"),
        written(normal_concat="'23'"),
        written(normal_concat="[4]"),
        written(normal_concat="[-1]"),
        written(normal_concat="[True, 2]"),
        written(normal_concat="[2.0]"),
        written(normal_concat="range()"),
        written(normal_concat="range(0)"),
        written(normal_concat="range(2, 5)"),
        written(normal_concat="range(False, 4)"),
        written(normal_concat="range(2, 4, 0)"),
        written(normal_concat="range(2, 4, 1, 1)"),
        written(normal_concat="range(2, 4, step=3)"),
        written(normal_concat="range(*[2, 4])"),
        written(normal_concat="range('2', '4')"),
        written(normal_concat="list(range(2, 4))"),
        written(reduce_concat="[1, 2]"),
    ],
)
def test_a_text_that_is_no_genotype_is_refused(text: str) -> None:
    with pytest.raises(GenotypeError):
        from_text(text)


LONG = 100_000


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("\0", id="null"),
        pytest.param("\ud800", id="half a surrogate pair"),
        pytest.param("[" * LONG, id="open brackets"),
        pytest.param("[" * LONG + "]" * LONG, id="nested brackets"),
        pytest.param(written(normal="[" * 90 + "]" * 90), id="brackets as deep as the parser goes"),
        pytest.param(written(normal_concat="[" * 300 + "2" + "]" * 300), id="brackets a bit deeper than that"),
        pytest.param("-" * LONG + "1", id="signs"),
        pytest.param(written(normal_concat="[" + "-" * 900 + "2]"), id="as many signs as the parser takes"),
        pytest.param(written(normal_concat="1" + "+1" * LONG), id="a long sum"),
        pytest.param(written(normal_concat="1" + "+1" * 900), id="a sum as long as the parser takes"),
        pytest.param("a" + ".b" * LONG, id="a long path"),
        pytest.param("a" + "()" * LONG, id="many calls"),
        pytest.param("lambda: " * LONG + "1", id="functions in functions"),
        pytest.param("f'{" * LONG, id="texts in texts"),
        pytest.param(written(normal_concat="[1" + "0" * 5_000 + "]"), id="a number of 5001 digits"),
        pytest.param(written(normal_concat="[0x1" + "0" * 5_000 + "]"), id="a number of 5001 hexadecimal digits"),
        pytest.param(written(normal_concat="range(2, 1000000000)"), id="a large range"),
        pytest.param(written(normal_concat="range(2, 1" + "0" * 30 + ")"), id="a range too long for len"),
        pytest.param(written(normal="[" + "('none', 0), " * 1_000 + "]"), id="more nodes than a cell may have"),
    ],
)
def test_a_text_that_would_break_a_parser_is_refused_in_few_words(text: str) -> None:
    with pytest.raises(GenotypeError) as caught:
        from_text(text)
    assert len(str(caught.value)) < 2_000


@pytest.mark.parametrize("place", ["whole", "function", "normal", "normal_concat", "range", "operation", "starred"])
def test_nothing_in_a_text_is_ever_executed(place: str, tmp_path: Path) -> None:
    mark = tmp_path / "was-here"
    attack = f"__import__('pathlib').Path({os.fspath(mark)!r}).touch()"
    text = {
        "whole": attack,
        "function": f"{attack}({NORMAL}, [2, 3], {REDUCE}, [2])",
        "normal": written(normal=attack),
        "normal_concat": written(normal_concat=attack),
        "range": written(normal_concat=f"range({attack})"),
        "operation": written(normal=f"[({attack}, 0), ('none', 1)]"),
        "starred": f"Genotype(*{attack})",
    }[place]
    with pytest.raises(GenotypeError):
        from_text(text)
    assert not mark.exists()
    exec(attack, {})  # noqa: S102 - the attack itself works
    assert mark.exists()
