"""What reading costs: statements, rows that come, rows that are touched."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event

from nas.store.session import Store


@contextmanager
def reading(store: Store) -> Iterator[list[tuple[str, Any]]]:
    """The statements that are executed, with their parameters."""
    statements: list[tuple[str, Any]] = []

    def note(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        statements.append((statement, parameters))

    event.listen(store.engine, "before_cursor_execute", note)
    yield statements
    event.remove(store.engine, "before_cursor_execute", note)


def count_rows(store: Store, statements: list[tuple[str, Any]]) -> int:
    """How many rows all of these statements bring."""
    with store.engine.connect() as connection:
        return sum(len(connection.exec_driver_sql(statement, parameters).all()) for statement, parameters in statements)


def selects(statements: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Those that read."""
    return [found for found in statements if found[0].startswith("SELECT")]


def plans(store: Store, statements: list[tuple[str, Any]]) -> list[list[str]]:
    """What SQLite does for each."""
    with store.engine.connect() as connection:
        return [
            [row.detail for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
            for statement, parameters in statements
        ]


def rows_touched(store: Store, statements: list[tuple[str, Any]]) -> list[float]:
    """How many rows of tables PostgreSQL looks at for each, whether it keeps them or not.

    The plan is the one that it keeps for statements that come again and again, whatever their values.
    """
    with store.engine.connect() as connection:
        connection.exec_driver_sql("SET plan_cache_mode = force_generic_plan")
        found = [
            connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters).scalar_one()
            for statement, parameters in statements
        ]
    return [_touched(plan[0]["Plan"]) for plan in found]


def _touched(node: dict[str, Any]) -> float:
    below = sum(_touched(child) for child in node.get("Plans", []))
    if "Relation Name" not in node:
        return below
    removed = sum(value for name, value in node.items() if name.startswith("Rows Removed by"))
    return float(below + (node["Actual Rows"] + removed) * node["Actual Loops"])
