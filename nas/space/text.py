"""The text format in which the DARTS code prints genotypes, and in which papers publish them.

    Genotype(normal=[('sep_conv_3x3', 0), ('skip_connect', 1), …], normal_concat=range(2, 6), reduce=[…], …)

Every node has two edges there, listed node after node. It is read as data (ast), never evaluated.
"""

import ast

from nas.errors import GenotypeError
from nas.space.genotype import MAX_NODES, Cell, Edge, Genotype

_FIELDS = {"normal", "normal_concat", "reduce", "reduce_concat"}
_MEND = "Genotype(normal=[('op', source), …], normal_concat=[…], reduce=[('op', source), …], reduce_concat=[…])"


def to_text(genotype: Genotype) -> str:
    """The genotype as the DARTS code prints it. Raises GenotypeError if a node has not two edges."""
    parts = []
    for name, cell in (("normal", genotype.normal), ("reduce", genotype.reduce)):
        if any(len(edges) != 2 for edges in cell.nodes):
            raise GenotypeError(name, [len(edges) for edges in cell.nodes], "the DARTS text gives every node two edges")
        pairs = [(edge.op, edge.source) for edges in cell.nodes for edge in edges]
        parts.append(f"{name}={pairs!r}, {name}_concat={list(cell.concat)!r}")
    return f"Genotype({', '.join(parts)})"


def from_text(text: str) -> Genotype:
    """Reads `Genotype(…)` or `NAME = Genotype(…)`; concat as a list, a tuple or a range. Raises GenotypeError."""
    try:
        fields = _fields(text)
        cells = [_cell(fields[name], fields[f"{name}_concat"]) for name in ("normal", "reduce")]
    except GenotypeError:
        raise
    except (SyntaxError, ValueError, TypeError, KeyError, OverflowError, RecursionError, MemoryError) as error:
        raise GenotypeError("genotype", text[:200], f"it has to read {_MEND}") from error
    return Genotype(*cells)


def _fields(text: str) -> dict[str, ast.expr]:
    [statement] = ast.parse(text.strip()).body
    if not isinstance(statement, ast.Expr | ast.Assign):
        raise TypeError(statement)
    call = statement.value
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.func.id != "Genotype":
        raise TypeError(call)
    fields = dict(zip(("normal", "normal_concat", "reduce", "reduce_concat"), call.args, strict=False))
    for keyword in call.keywords:
        if keyword.arg is None or keyword.arg in fields:
            raise ValueError(keyword.arg)
        fields[keyword.arg] = keyword.value
    if len(call.args) > len(_FIELDS) or set(fields) != _FIELDS:
        raise ValueError(sorted(fields))
    return fields


def _cell(edges: ast.expr, concat: ast.expr) -> Cell:
    if not isinstance(edges, ast.List | ast.Tuple):  # a set has no order
        raise TypeError(edges)
    pairs = [Edge(op, _index(source)) for op, source in ast.literal_eval(edges)]
    if len(pairs) % 2:
        raise ValueError(len(pairs))
    nodes = tuple((pairs[i], pairs[i + 1]) for i in range(0, len(pairs), 2))
    return Cell(nodes, _concat(concat))


def _concat(node: ast.expr) -> tuple[int, ...]:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range":
        bounds = range(*(_index(ast.literal_eval(argument)) for argument in node.args))
        if node.keywords or len(bounds) > MAX_NODES:
            raise ValueError(bounds)
        return tuple(bounds)
    return tuple(_index(index) for index in ast.literal_eval(node))


def _index(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(value)
    return value
