"""What was said about orders is sealed in stretches; a seal is a fact, too."""

from django.db import migrations, models

RULES = """
CREATE TRIGGER event_seal_append_only BEFORE UPDATE OR DELETE ON execution_eventseal
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("execution", "0017_orders_of_one_intent"),
    ]

    operations = [
        migrations.CreateModel(
            name="EventSeal",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("after_event", models.BigIntegerField(help_text="number of the last event before it")),
                ("through_event", models.BigIntegerField(help_text="number of its own last event", unique=True)),
                ("events", models.PositiveIntegerField()),
                ("previous_digest", models.CharField(max_length=64, unique=True)),
                ("digest", models.CharField(max_length=64, unique=True)),
                ("sealed_at", models.DateTimeField(help_text="wall time")),
            ],
            options={"ordering": ["-id"]},
        ),
        migrations.RunSQL(RULES, migrations.RunSQL.noop),
    ]
