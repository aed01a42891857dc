"""Runs, their chunks and their answers. An answer is written once: the database refuses to change it."""

import uuid

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

ANSWERS_STAY = """
CREATE TRIGGER run_result_stays BEFORE UPDATE ON strategies_runresult
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0002_append_only"),
        ("strategies", "0001_contracts_and_signals"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="BacktestRun",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("BACKTEST", "Backtest"),
                            ("SWEEP", "Sweep"),
                            ("WALK_FORWARD", "Walk-forward"),
                            ("MONTE_CARLO", "Monte Carlo"),
                            ("LOOK_AHEAD", "Look-ahead check"),
                            ("PORTFOLIO", "Portfolio of strategies"),
                        ],
                        default="BACKTEST",
                        max_length=12,
                    ),
                ),
                ("title", models.CharField(max_length=160)),
                (
                    "request",
                    models.JSONField(default=dict, help_text="contract, market and money; empty: made of other runs"),
                ),
                (
                    "study",
                    models.JSONField(
                        default=dict, help_text="what the kind needs beyond the request, the seed among it"
                    ),
                ),
                ("limits", models.JSONField(default=dict, help_text="the house's limits when it was asked")),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("QUEUED", "Queued"),
                            ("RUNNING", "Running"),
                            ("DONE", "Done"),
                            ("FAILED", "Failed"),
                            ("CANCELLED", "Cancelled"),
                        ],
                        default="QUEUED",
                        max_length=9,
                    ),
                ),
                (
                    "units",
                    models.BigIntegerField(
                        default=1, help_text="how much work there is, in the units its chunks count"
                    ),
                ),
                (
                    "generation",
                    models.PositiveIntegerField(default=0, help_text="how often its chunks led to further ones"),
                ),
                ("holder", models.UUIDField(help_text="who puts the answer together", null=True)),
                ("leased_until", models.DateTimeField(help_text="wall time", null=True)),
                ("error_code", models.CharField(blank=True, max_length=40)),
                ("error", models.CharField(blank=True, max_length=400)),
                ("created_at", models.DateTimeField(help_text="wall time")),
                ("started_at", models.DateTimeField(help_text="wall time", null=True)),
                ("finished_at", models.DateTimeField(help_text="wall time", null=True)),
                ("ended_by", models.CharField(blank=True, help_text="who cancelled it", max_length=150)),
                (
                    "owner",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="backtest_runs",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "version",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="backtest_runs",
                        to="strategies.contractversion",
                    ),
                ),
            ],
            options={
                "ordering": ["-created_at", "-id"],
            },
        ),
        migrations.CreateModel(
            name="RunResult",
            fields=[
                (
                    "run",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="result",
                        serialize=False,
                        to="strategies.backtestrun",
                    ),
                ),
                ("report", models.BinaryField(help_text="the JSON text, byte for byte, compressed")),
                ("arrays", models.BinaryField(help_text="trades and curves, packed")),
                (
                    "figures",
                    models.JSONField(default=dict, help_text="the few numbers that lists and comparisons show"),
                ),
                ("data_hash", models.CharField(blank=True, max_length=64)),
                ("run_hash", models.CharField(max_length=64)),
                ("engine_version", models.PositiveIntegerField()),
                ("code_version", models.CharField(max_length=80)),
                ("seed", models.BigIntegerField(null=True)),
                ("stored_at", models.DateTimeField(help_text="wall time")),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="RunChunk",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("number", models.PositiveIntegerField()),
                ("spec", models.JSONField(default=dict)),
                (
                    "state",
                    models.CharField(
                        choices=[("QUEUED", "Queued"), ("RUNNING", "Running"), ("DONE", "Done")],
                        default="QUEUED",
                        max_length=7,
                    ),
                ),
                ("attempts", models.PositiveSmallIntegerField(default=0)),
                ("holder", models.UUIDField(null=True)),
                (
                    "leased_until",
                    models.DateTimeField(help_text="wall time; a claim that grew older may be taken over", null=True),
                ),
                ("done", models.BigIntegerField(default=0, help_text="units of the run's work")),
                ("result", models.BinaryField(null=True)),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="chunks", to="strategies.backtestrun"
                    ),
                ),
            ],
            options={
                "ordering": ["run", "number"],
            },
        ),
        migrations.AddIndex(
            model_name="backtestrun",
            index=models.Index(fields=["owner", "-created_at"], name="run_newest"),
        ),
        migrations.AddIndex(
            model_name="backtestrun",
            index=models.Index(
                condition=models.Q(("state__in", ["QUEUED", "RUNNING"])), fields=["state"], name="run_open"
            ),
        ),
        migrations.AddIndex(
            model_name="runchunk",
            index=models.Index(
                condition=models.Q(("state", "DONE"), _negated=True), fields=["state"], name="chunk_open"
            ),
        ),
        migrations.AddConstraint(
            model_name="runchunk",
            constraint=models.UniqueConstraint(fields=("run", "number"), name="chunk_once"),
        ),
        migrations.RunSQL(ANSWERS_STAY, migrations.RunSQL.noop),
    ]
