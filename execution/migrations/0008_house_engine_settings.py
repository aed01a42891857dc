"""Trades get the finer states; the house begins with a ladder and with settings, as rows that staff may change."""

from django.db import migrations

RUNGS = [
    {"gap_pct": gap, "weight_pct": "20", "take_profit_pct": profit}
    for gap, profit in (("0", "1"), ("-0.5", "0.5"), ("-1.0", "2"), ("-1.5", "1.5"), ("-2.0", "1"))
]
SINGLE = [{"gap_pct": "0", "weight_pct": "100", "take_profit_pct": "1"}]


def begin(apps, schema_editor):
    group = apps.get_model("execution", "Group")
    order = apps.get_model("execution", "Order")
    entering = order.objects.filter(reason="ENTRY", state__in=["QUEUED", "SENDING", "UNKNOWN", "ACKED", "OPEN"]).values(
        "group"
    )
    group.objects.filter(state="OPENING").update(state="LIVE")
    group.objects.filter(state="OPEN", pk__in=entering).update(state="PARTIAL")
    group.objects.filter(state="OPEN").update(state="ACTIVE")
    plan = apps.get_model("execution", "LadderPlan")
    ladder = plan.objects.create(name="Five steps", rungs=RUNGS, stop_pct="1", created_by="the house")
    plan.objects.create(name="One entry", rungs=SINGLE, stop_pct="1", created_by="the house")
    apps.get_model("execution", "EngineSettings").objects.create(version=1, ladder=ladder, created_by="the house")


class Migration(migrations.Migration):
    dependencies = [("execution", "0007_engine_pool_ladders")]
    operations = [migrations.RunPython(begin, migrations.RunPython.noop)]
