"""The house begins with its default limits; staff change them in the console, as new versions."""

from django.db import migrations


def begin(apps, schema_editor):
    apps.get_model("risk", "RiskPolicy").objects.get_or_create(
        portfolio=None, version=1, defaults={"created_by": "the house"}
    )


class Migration(migrations.Migration):
    dependencies = [("risk", "0001_policies_and_verdicts")]
    operations = [migrations.RunPython(begin, migrations.RunPython.noop)]
