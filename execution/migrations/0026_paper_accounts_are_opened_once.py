from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("execution", "0025_deployments_let_large_entries_out")]

    operations = [
        migrations.AddField(
            model_name="paperbook",
            name="opening_key",
            field=models.CharField(
                blank=True, db_default="", help_text="what makes a repeat of its opening the same wish", max_length=64
            ),
        ),
    ]
