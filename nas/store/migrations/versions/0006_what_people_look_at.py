"""what people look at: logins of browsers, logs of trials, where a trial's time went

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sessions",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("key_id", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["key_id"], ["api_keys.id"], name="fk_sessions_key_id_api_keys"),
        sa.PrimaryKeyConstraint("digest", name="pk_sessions"),
    )
    op.create_index("ix_sessions_expires_at", "sessions", ["expires_at"])
    op.create_table(
        "lines",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("trial_id", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("level", sa.String(10), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["trial_id"], ["trials.id"], name="fk_lines_trial_id_trials"),
        sa.PrimaryKeyConstraint("id", name="pk_lines"),
    )
    op.create_index("ix_lines_trial_id", "lines", ["trial_id", "id"])
    op.add_column("trials", sa.Column("spent", sa.JSON(), nullable=True))
    op.add_column("trials", sa.Column("shifts", sa.JSON(), nullable=True))
    op.add_column("trials", sa.Column("began_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column("trials", "began_at")
    op.drop_column("trials", "shifts")
    op.drop_column("trials", "spent")
    op.drop_table("lines")
    op.drop_table("sessions")
