from django.db import migrations, models


def sign_out_the_later(apps, schema_editor):
    """Of several live accounts of one client the one that was linked first stays signed in."""
    accounts = apps.get_model("accounts", "BrokerAccount").objects.filter(environment="LIVE").exclude(broker_user_id="")
    seen = set()
    for account in accounts.order_by("pk"):
        client = account.broker, account.broker_user_id
        if client in seen:
            accounts.filter(pk=account.pk).update(
                broker_user_id="", access_token_sealed=None, token_expires_at=None, auth_state="NEEDS_LOGIN",
                auth_cause="another account has this client of the broker",
            )  # fmt: skip
        seen.add(client)


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0005_paper_accounts"),
    ]

    operations = [
        migrations.RunPython(sign_out_the_later, migrations.RunPython.noop),
        migrations.AddConstraint(
            model_name="brokeraccount",
            constraint=models.UniqueConstraint(
                condition=models.Q(("environment", "LIVE"), models.Q(("broker_user_id", ""), _negated=True)),
                fields=("broker", "broker_user_id"),
                name="live_client_of_a_broker_once",
            ),
        ),
    ]
