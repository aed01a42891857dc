"""An order that no row knows may still work at the broker: what the desk sends beside it is bounded by that, too."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("execution", "0027_fewer_indexes")]

    operations = [
        migrations.AddField(
            model_name="mismatch",
            name="working",
            field=models.BigIntegerField(
                db_default=0, default=0, help_text="units, signed, that an order no row knows may still trade"
            ),
        ),
    ]
