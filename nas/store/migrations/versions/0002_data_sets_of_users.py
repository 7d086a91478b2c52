"""data sets of users

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# No batches: SQLite would copy the table and drop the old one, to which other tables' rows refer.


def upgrade() -> None:
    op.add_column("datasets", sa.Column("task", sa.String(length=16), server_default="single_label", nullable=False))
    op.add_column("datasets", sa.Column("counts", sa.JSON(), nullable=True))
    op.add_column("datasets", sa.Column("warnings", sa.JSON(), nullable=True))
    op.add_column("datasets", sa.Column("size_bytes", sa.BigInteger(), nullable=True))
    op.add_column("datasets", sa.Column("seed", sa.Integer(), server_default="0", nullable=False))
    op.add_column("trials", sa.Column("latency_ms", sa.Double(), nullable=True))
    op.add_column("trials", sa.Column("memory_mb", sa.Double(), nullable=True))
    op.add_column("epochs", sa.Column("metrics", sa.JSON(), nullable=True))


def downgrade() -> None:
    op.drop_column("epochs", "metrics")
    op.drop_column("trials", "memory_mb")
    op.drop_column("trials", "latency_ms")
    for name in ("seed", "size_bytes", "warnings", "counts", "task"):
        op.drop_column("datasets", name)
