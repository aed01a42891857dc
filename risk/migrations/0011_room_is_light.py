"""The room of an order is some eight rows: two indexes for each, not four, and space in the page for what becomes of it."""

import django.db.models.deletion
from django.db import migrations, models

# Both are updated in place many times, and no index names what changes.
SPACE = """
ALTER TABLE risk_riskbucket SET (fillfactor = 50);
ALTER TABLE risk_reservation SET (fillfactor = 80);
"""


class Migration(migrations.Migration):
    dependencies = [
        ("portfolio", "0004_watchlists_and_chart_settings"),
        ("risk", "0010_verdicts_in_their_assessment"),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="reservation",
            name="reserved_once",
        ),
        migrations.AlterField(
            model_name="assessment",
            name="portfolio",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="assessments",
                to="portfolio.portfolio",
            ),
        ),
        migrations.AlterField(
            model_name="reservation",
            name="bucket",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="reservations",
                to="risk.riskbucket",
            ),
        ),
        migrations.AlterField(
            model_name="reservation",
            name="intent_id",
            field=models.UUIDField(),
        ),
        migrations.AlterField(
            model_name="riskbucket",
            name="key",
            field=models.CharField(max_length=96),
        ),
        migrations.AddConstraint(
            model_name="reservation",
            constraint=models.UniqueConstraint(fields=("intent_id", "bucket"), name="reserved_once"),
        ),
        migrations.AddConstraint(
            model_name="riskbucket",
            constraint=models.UniqueConstraint(fields=("key",), name="bucket_of_key"),
        ),
        migrations.RunSQL(SPACE, migrations.RunSQL.noop),
    ]
