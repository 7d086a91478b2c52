"""a shared service: owners, keys, pauses, versions, setbacks, cache

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

BUILTIN = "'digits', 'mnist', 'fashion_mnist', 'cifar10', 'cifar100'"

OPEN_TALLY = sa.text("count > 0 AND state IN ('queued', 'running', 'paused')")

TRIAL_INDEXES = [
    *(["job_id", "phase", "state", *key, "number"] for key in ([], ["accuracy"], ["params"], ["epoch"])),
    ["job_id", "front", "id"],
]


def upgrade() -> None:
    with op.batch_alter_table("datasets") as table:
        table.add_column(sa.Column("owner", sa.String(100), server_default="local", nullable=False))
        table.add_column(sa.Column("unready", sa.Text(), nullable=True))
        table.add_column(sa.Column("unready_until", sa.DateTime(timezone=True), nullable=True))
        table.drop_constraint("uq_datasets_name", type_="unique")
        table.create_unique_constraint("uq_datasets_owner_name", ["owner", "name"])
    op.execute(f"UPDATE datasets SET owner = '*' WHERE name IN ({BUILTIN})")  # noqa: S608 - our own names
    for column in (
        sa.Column("owner", sa.String(100), server_default="local", nullable=False),
        sa.Column("priority", sa.Integer(), server_default="0", nullable=False),
        sa.Column("device", sa.String(16), server_default="any", nullable=False),
        sa.Column("version", sa.Integer(), server_default="0", nullable=False),
        sa.Column("changed", sa.Integer(), server_default="0", nullable=False),
        sa.Column("reasons", sa.JSON(), nullable=True),
        sa.Column("cached", sa.Integer(), server_default="0", nullable=False),
        sa.Column("resumes", sa.String(16), nullable=True),
        sa.Column("paused_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("paused_s", sa.Double(), server_default="0", nullable=False),
        sa.Column("searches", sa.JSON(), nullable=True),
        sa.Column("served_at", sa.DateTime(timezone=True), nullable=True),
    ):
        op.add_column("jobs", column)
    op.create_index("ix_jobs_owner_created_at", "jobs", ["owner", "created_at"])
    op.create_index("ix_jobs_owner_served_at", "jobs", ["owner", "served_at"])
    op.create_index("ix_tallies_open", "tallies", ["job_id"], postgresql_where=OPEN_TALLY, sqlite_where=OPEN_TALLY)
    for column in (
        sa.Column("round", sa.Integer(), server_default="0", nullable=False),
        sa.Column("halvings", sa.Integer(), server_default="0", nullable=False),
        sa.Column("device", sa.String(100), nullable=True),
        sa.Column("changed", sa.Integer(), server_default="0", nullable=False),
        sa.Column("cache_key", sa.String(64), nullable=True),
        sa.Column("cached_from", sa.String(64), nullable=True),
    ):
        op.add_column("trials", column)
    op.create_index("ix_trials_job_id_changed", "trials", ["job_id", "changed"])
    op.drop_index("ix_trials_job_id_phase_accuracy", "trials")
    op.drop_index("ix_trials_job_id_front", "trials")
    for columns in TRIAL_INDEXES:
        op.create_index(f"ix_trials_{'_'.join(columns)}", "trials", columns)
    op.create_index("ix_incumbents_job_id_at_s", "incumbents", ["job_id", "at_s"])
    op.create_index("ix_trials_cache_key", "trials", ["cache_key"])
    op.add_column("epochs", sa.Column("version", sa.Integer(), server_default="0", nullable=False))
    op.add_column("epochs", sa.Column("job_id", sa.String(32), nullable=True))
    op.execute("UPDATE epochs SET job_id = (SELECT job_id FROM trials WHERE trials.id = epochs.trial_id)")
    with op.batch_alter_table("epochs") as table:
        table.alter_column("job_id", existing_type=sa.String(32), nullable=False)
    op.create_index("ix_epochs_job_id_version_trial_id_epoch", "epochs", ["job_id", "version", "trial_id", "epoch"])
    op.create_table(
        "setbacks",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("trial_id", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(200), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("worker", sa.String(64), nullable=True),
        sa.Column("again", sa.Boolean(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["trial_id"], ["trials.id"], name="fk_setbacks_trial_id_trials"),
        sa.PrimaryKeyConstraint("id", name="pk_setbacks"),
    )
    op.create_index("ix_setbacks_trial_id", "setbacks", ["trial_id"])
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("prefix", sa.String(16), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("owner", sa.String(100), nullable=False),
        sa.Column("scope", sa.String(16), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.UniqueConstraint("prefix", name="uq_api_keys_prefix"),
    )
    op.create_table(
        "answers",
        sa.Column("owner", sa.String(100), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("request", sa.String(64), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("headers", sa.JSON(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("owner", "key", name="pk_answers"),
    )
    op.create_index("ix_answers_created_at", "answers", ["created_at"])
    op.create_table(
        "counters",
        sa.Column("name", sa.String(40), nullable=False),
        sa.Column("label", sa.String(40), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("name", "label", name="pk_counters"),
    )


def downgrade() -> None:
    for name in ("counters", "answers", "api_keys", "setbacks"):
        op.drop_table(name)
    op.drop_index("ix_epochs_job_id_version_trial_id_epoch", "epochs")
    with op.batch_alter_table("epochs") as table:
        table.drop_column("job_id")
        table.drop_column("version")
    op.drop_index("ix_trials_cache_key", "trials")
    op.drop_index("ix_trials_job_id_changed", "trials")
    op.drop_index("ix_incumbents_job_id_at_s", "incumbents")
    for columns in TRIAL_INDEXES:
        op.drop_index(f"ix_trials_{'_'.join(columns)}", "trials")
    op.create_index("ix_trials_job_id_front", "trials", ["job_id", "front"])
    op.create_index("ix_trials_job_id_phase_accuracy", "trials", ["job_id", "phase", "accuracy"])
    for name in ("cached_from", "cache_key", "changed", "device", "halvings", "round"):
        op.drop_column("trials", name)
    op.drop_index("ix_tallies_open", "tallies")
    op.drop_index("ix_jobs_owner_served_at", "jobs")
    op.drop_index("ix_jobs_owner_created_at", "jobs")
    for name in (
        "served_at",
        "searches",
        "paused_s",
        "paused_at",
        "resumes",
        "cached",
        "reasons",
        "changed",
        "version",
        "device",
        "priority",
        "owner",
    ):
        op.drop_column("jobs", name)
    with op.batch_alter_table("datasets") as table:
        table.drop_constraint("uq_datasets_owner_name", type_="unique")
        table.create_unique_constraint("uq_datasets_name", ["name"])
        for name in ("unready_until", "unready", "owner"):
            table.drop_column(name)
