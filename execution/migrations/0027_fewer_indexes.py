"""An order was written into fifteen indexes, and again at each of its states. Those go that the first columns of others
serve, and those that nothing reads; where a column is mostly empty, only what is there is indexed."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0005_paper_accounts"),
        ("execution", "0026_paper_accounts_are_opened_once"),
        ("marketdata", "0012_price_bands"),
        ("portfolio", "0004_watchlists_and_chart_settings"),
        ("strategies", "0008_signals_in_their_order"),
    ]

    operations = [
        migrations.AlterField(
            model_name="group",
            name="instrument",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="marketdata.instrument",
            ),
        ),
        migrations.AlterField(
            model_name="group",
            name="ladder",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                help_text="how it is built up; empty: one entry",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="groups",
                to="execution.ladderplan",
            ),
        ),
        migrations.AlterField(
            model_name="group",
            name="signal",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="groups",
                to="strategies.signal",
            ),
        ),
        migrations.AlterField(
            model_name="intent",
            name="instrument",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="marketdata.instrument",
            ),
        ),
        migrations.AlterField(
            model_name="intent",
            name="leg",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="intents",
                to="execution.leg",
            ),
        ),
        migrations.AlterField(
            model_name="intent",
            name="parent",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="intents",
                to="execution.parentorder",
            ),
        ),
        migrations.AlterField(
            model_name="intent",
            name="part",
            field=models.ForeignKey(
                blank=True,
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="intents",
                to="execution.partexit",
            ),
        ),
        migrations.AlterField(
            model_name="intent",
            name="portfolio",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="intents",
                to="portfolio.portfolio",
            ),
        ),
        migrations.AlterField(
            model_name="intent",
            name="signal",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="intents",
                to="strategies.signal",
            ),
        ),
        migrations.AlterField(
            model_name="order",
            name="account",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="orders",
                to="accounts.brokeraccount",
            ),
        ),
        migrations.AlterField(
            model_name="order",
            name="client_order_id",
            field=models.CharField(help_text="sent to the broker as its tag", max_length=20),
        ),
        migrations.AlterField(
            model_name="order",
            name="group",
            field=models.ForeignKey(
                db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name="orders", to="execution.group"
            ),
        ),
        migrations.AlterField(
            model_name="order",
            name="instrument",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="marketdata.instrument",
            ),
        ),
        migrations.AlterField(
            model_name="order",
            name="portfolio",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="orders",
                to="portfolio.portfolio",
            ),
        ),
        migrations.AlterField(
            model_name="orderevent",
            name="order",
            field=models.ForeignKey(
                db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name="events", to="execution.order"
            ),
        ),
        migrations.AddIndex(
            model_name="group",
            index=models.Index(
                condition=models.Q(("signal__isnull", False)), fields=["signal"], name="group_of_signal"
            ),
        ),
        migrations.AddIndex(
            model_name="group",
            index=models.Index(
                condition=models.Q(("ladder__isnull", False)), fields=["ladder"], name="group_of_ladder"
            ),
        ),
        migrations.AddIndex(
            model_name="intent",
            index=models.Index(
                condition=models.Q(("signal__isnull", False)), fields=["signal"], name="intent_of_signal"
            ),
        ),
        migrations.AddIndex(
            model_name="intent",
            index=models.Index(condition=models.Q(("leg__isnull", False)), fields=["leg"], name="intent_of_leg"),
        ),
        migrations.AddIndex(
            model_name="intent",
            index=models.Index(condition=models.Q(("part__isnull", False)), fields=["part"], name="intent_of_part"),
        ),
        migrations.AddIndex(
            model_name="intent",
            index=models.Index(
                condition=models.Q(("parent__isnull", False)), fields=["parent"], name="intent_of_parent"
            ),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=models.UniqueConstraint(fields=("client_order_id",), name="order_named_once"),
        ),
    ]
