"""strategies: preparation, rungs, several objectives

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

PHASES = ("screening", "supernet", "search", "finalist", "control", "reference", "report", "retrain")
STATES = ("queued", "running", "paused", "complete", "pruned", "infeasible", "failed", "cancelled")


def upgrade() -> None:
    op.add_column("jobs", sa.Column("prepared", sa.Integer(), server_default="0", nullable=False))
    op.add_column("jobs", sa.Column("search_over", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("trials", sa.Column("stage", sa.Integer(), server_default="0", nullable=False))
    op.add_column("trials", sa.Column("rungs", sa.JSON(), nullable=True))
    op.add_column("trials", sa.Column("front", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.create_index("ix_trials_job_id_front", "trials", ["job_id", "front"])
    # Every job has a tally for each phase and state, also for those that are new.
    for phase in PHASES:
        for state in STATES:
            op.execute(
                sa.text(
                    "INSERT INTO tallies (job_id, phase, state, count) SELECT id, :phase, :state, 0 FROM jobs "
                    "WHERE NOT EXISTS (SELECT 1 FROM tallies WHERE tallies.job_id = jobs.id "
                    "AND tallies.phase = :phase AND tallies.state = :state)"
                ).bindparams(phase=phase, state=state)
            )


def downgrade() -> None:
    op.execute(sa.text("DELETE FROM tallies WHERE phase IN ('screening', 'supernet', 'retrain') OR state = 'paused'"))
    op.drop_index("ix_trials_job_id_front", "trials")
    for name in ("front", "rungs", "stage"):
        op.drop_column("trials", name)
    for name in ("search_over", "prepared"):
        op.drop_column("jobs", name)
