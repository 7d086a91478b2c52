"""engines and devices: who drives a Ray job, what runs alone, what it held

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for column in (
        sa.Column("engine", sa.String(16), server_default="optuna", nullable=False),
        sa.Column("driver", sa.String(64), nullable=True),
        sa.Column("driver_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("driver_term", sa.Integer(), server_default="0", nullable=False),
        sa.Column("drivers_lost", sa.Integer(), server_default="0", nullable=False),
    ):
        op.add_column("jobs", column)
    op.add_column("workers", sa.Column("ray", sa.Boolean(), server_default=sa.false(), nullable=False))
    for column in (
        sa.Column("alone", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("peak_bytes", sa.BigInteger(), nullable=True),
    ):
        op.add_column("trials", column)


def downgrade() -> None:
    for name in ("peak_bytes", "alone"):
        op.drop_column("trials", name)
    op.drop_column("workers", "ray")
    for name in ("drivers_lost", "driver_term", "driver_until", "driver", "engine"):
        op.drop_column("jobs", name)
