"""Winners that pay for losers: plans, their lines, marks of people; trades may end for it."""

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

REASONS = [
    (name, name)
    for name in (
        "ENTRY",
        "STOP",
        "TARGET",
        "TIME",
        "RULE",
        "TRAILING",
        "OFFSET",
        "SQUARE_OFF",
        "MANUAL",
        "KILL",
    )
]


class Migration(migrations.Migration):
    dependencies = [
        ("execution", "0011_hooks"),
        ("portfolio", "0004_watchlists_and_chart_settings"),
    ]

    operations = [
        migrations.AlterField(
            model_name="group",
            name="close_reason",
            field=models.CharField(blank=True, choices=REASONS, max_length=12),
        ),
        migrations.AlterField(
            model_name="intent",
            name="reason",
            field=models.CharField(choices=REASONS, max_length=12),
        ),
        migrations.AlterField(
            model_name="order",
            name="reason",
            field=models.CharField(choices=REASONS, max_length=12),
        ),
        migrations.AlterField(
            model_name="partexit",
            name="reason",
            field=models.CharField(choices=REASONS[1:], max_length=12),
        ),
        migrations.CreateModel(
            name="OffsetPlan",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("PLANNED", "planned"),
                            ("CLOSING_WINNERS", "winners are being sold"),
                            ("CLOSING_LOSER", "the loser is being closed"),
                            ("DONE", "done"),
                            ("ABANDONED", "abandoned"),
                        ],
                        default="PLANNED",
                        max_length=16,
                    ),
                ),
                ("actor", models.CharField(help_text="the clock, a fill, or a person", max_length=150)),
                (
                    "loss_pct",
                    models.DecimalField(
                        decimal_places=4, help_text="of the loser, on its cost, positive", max_digits=9
                    ),
                ),
                ("required_paise", models.BigIntegerField(help_text="the loss that is to be paid for")),
                ("covered_paise", models.BigIntegerField(help_text="what the winners were to bring, before charges")),
                ("projected_paise", models.BigIntegerField(help_text="what was to be left of it all, after charges")),
                (
                    "realised_paise",
                    models.BigIntegerField(blank=True, help_text="what was left, after charges", null=True),
                ),
                ("code", models.CharField(blank=True, help_text="why it was abandoned", max_length=40)),
                ("reason", models.CharField(blank=True, max_length=240)),
                ("fills_before", models.BigIntegerField(help_text="the newest fill of the portfolio when it was made")),
                ("venue_at", models.DateTimeField(help_text="venue time of the decision")),
                ("created_at", models.DateTimeField(help_text="wall time, like the next two")),
                ("step_at", models.DateTimeField(help_text="when it came into its state")),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
                (
                    "loser",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="offset_plans", to="execution.group"
                    ),
                ),
                (
                    "portfolio",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="offset_plans",
                        to="portfolio.portfolio",
                    ),
                ),
                (
                    "settings",
                    models.ForeignKey(
                        help_text="as it was made under",
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="execution.enginesettings",
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="OffsetLine",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("rank", models.PositiveSmallIntegerField(help_text="0: the loser; winners by what they have earned")),
                ("role", models.CharField(choices=[("WINNER", "pays"), ("LOSER", "is paid for")], max_length=6)),
                ("quantity", models.PositiveBigIntegerField(help_text="units to be closed")),
                ("cost_paise", models.BigIntegerField(help_text="what these units had cost")),
                (
                    "planned_price",
                    models.DecimalField(decimal_places=4, help_text="the last price at planning", max_digits=14),
                ),
                ("limit_price", models.DecimalField(blank=True, decimal_places=4, max_digits=14, null=True)),
                ("projected_paise", models.BigIntegerField()),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("PLANNED", "planned"),
                            ("ASKED", "asked for"),
                            ("DONE", "closed as planned"),
                            ("SHORT", "less of it than planned"),
                            ("ELSEWISE", "closed by something else"),
                            ("DROPPED", "left alone"),
                        ],
                        default="PLANNED",
                        max_length=8,
                    ),
                ),
                ("closed_quantity", models.PositiveBigIntegerField(default=0)),
                ("average_price", models.DecimalField(blank=True, decimal_places=4, max_digits=14, null=True)),
                ("gross_paise", models.BigIntegerField(default=0, help_text="realised, before charges")),
                ("realised_paise", models.BigIntegerField(default=0, help_text="realised, after charges")),
                (
                    "slippage_pct",
                    models.DecimalField(
                        blank=True,
                        decimal_places=4,
                        help_text="worse than planned; below zero: better",
                        max_digits=9,
                        null=True,
                    ),
                ),
                ("asked_at", models.DateTimeField(blank=True, help_text="wall time, like the next", null=True)),
                ("ended_at", models.DateTimeField(blank=True, null=True)),
                (
                    "group",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="offset_lines", to="execution.group"
                    ),
                ),
                (
                    "part",
                    models.OneToOneField(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="offset_line",
                        to="execution.partexit",
                    ),
                ),
                (
                    "plan",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="lines", to="execution.offsetplan"
                    ),
                ),
            ],
            options={
                "ordering": ["plan", "rank"],
            },
        ),
        migrations.CreateModel(
            name="OffsetWatch",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("looked_at", models.DateTimeField(help_text="wall time", null=True)),
                ("fill_seen", models.BigIntegerField(default=0, help_text="the newest fill of it by then")),
                ("asked_by", models.CharField(blank=True, help_text="who asked for a look now", max_length=150)),
                ("code", models.CharField(blank=True, help_text="why nothing was planned", max_length=40)),
                ("said", models.CharField(blank=True, max_length=240)),
                (
                    "portfolio",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="offset_watch",
                        to="portfolio.portfolio",
                    ),
                ),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="OffsetMark",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("BLOCK", "left alone until it is unblocked"),
                            ("SKIP_ONCE", "passed over when its turn comes, once"),
                        ],
                        max_length=9,
                    ),
                ),
                ("actor", models.CharField(max_length=150)),
                (
                    "created_at",
                    models.DateTimeField(default=django.utils.timezone.now, help_text="wall time, like the next"),
                ),
                ("ended_at", models.DateTimeField(blank=True, help_text="taken back, or used", null=True)),
                ("ended_by", models.CharField(blank=True, max_length=150)),
                (
                    "group",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="offset_marks", to="execution.group"
                    ),
                ),
            ],
            options={
                "ordering": ["-id"],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("ended_at", None)), fields=("group", "kind"), name="offset_mark_once"
                    )
                ],
            },
        ),
        migrations.AddIndex(
            model_name="offsetplan",
            index=models.Index(fields=["portfolio", "-id"], name="offset_plan_newest"),
        ),
        migrations.AddConstraint(
            model_name="offsetplan",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state__in", ["PLANNED", "CLOSING_WINNERS", "CLOSING_LOSER"])),
                fields=("portfolio",),
                name="offset_plan_live_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="offsetline",
            constraint=models.UniqueConstraint(fields=("plan", "rank"), name="offset_line_once"),
        ),
        migrations.AddConstraint(
            model_name="offsetline",
            constraint=models.UniqueConstraint(fields=("plan", "group"), name="offset_group_once"),
        ),
        migrations.AddConstraint(
            model_name="offsetline",
            constraint=models.CheckConstraint(
                condition=models.Q(("quantity__gt", 0)), name="offset_line_closes_something"
            ),
        ),
    ]
