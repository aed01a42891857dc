import secrets

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import accounts.models.broker_account


def give_each_account_its_own(apps, schema_editor):
    """A default is the same for all rows that are there already."""
    account_model = apps.get_model("accounts", "BrokerAccount")
    for account in account_model.objects.all():
        account.postback_key = secrets.token_urlsafe(32)
        account.save(update_fields=["postback_key"])


class Migration(migrations.Migration):
    dependencies = [("accounts", "0003_zerodha")]

    operations = [
        migrations.AddField(
            "brokeraccount",
            "postback_key",
            models.CharField(max_length=43, default="", help_text="the last part of the address for postbacks"),
            preserve_default=False,
        ),
        migrations.RunPython(give_each_account_its_own, migrations.RunPython.noop),
        migrations.AlterField(
            "brokeraccount",
            "postback_key",
            models.CharField(
                max_length=43,
                unique=True,
                default=accounts.models.broker_account.new_postback_key,
                help_text="the last part of the address for postbacks",
            ),
        ),
        migrations.AddField(
            "brokeraccount",
            "checked_at",
            models.DateTimeField(null=True, help_text="when the broker last said that it still opens"),
        ),
        migrations.AlterField(
            "brokeraccount",
            "validated_at",
            models.DateTimeField(null=True, help_text="when the token of the day was taken in"),
        ),
        migrations.CreateModel(
            name="BrokerLogin",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("state_digest", models.CharField(max_length=64, unique=True)),
                ("session_digest", models.CharField(max_length=64)),
                ("begun_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField()),
                ("used_at", models.DateTimeField(null=True)),
                (
                    "outcome",
                    models.CharField(
                        blank=True, help_text="AUTHENTICATED, or the code of what went wrong", max_length=40
                    ),
                ),
                (
                    "account",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="logins",
                        to="accounts.brokeraccount",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
            options={"ordering": ["-begun_at"]},
        ),
    ]
