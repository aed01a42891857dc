from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("execution", "0020_what_is_alive_by_instrument")]

    operations = [
        migrations.AddField(
            model_name="fill",
            name="synthetic",
            field=models.BooleanField(
                db_default=False, default=False, help_text="stands in for trades that the broker has not shown yet"
            ),
        ),
    ]
