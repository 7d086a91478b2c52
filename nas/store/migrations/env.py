"""Alembic's entry: runs the migrations on the connection that nas.store.migrate hands over."""

from typing import Any, Literal

from alembic import context
from sqlalchemy import TypeDecorator

from nas.store.tables import Base


def _plain_type(kind: str, value: Any, _: Any) -> str | Literal[False]:
    """Migrations name the database's own types, so that they never change with our classes."""
    if kind == "type" and isinstance(value, TypeDecorator):
        return f"sa.{value.impl!r}"
    return False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
    render_item=_plain_type,
)
context.run_migrations()
