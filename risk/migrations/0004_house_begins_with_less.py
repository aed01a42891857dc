"""The house begins with 70 % of equity at work, 80 % being the hard cap; where it has traded, as a new version.

What was seen by the gates is a fact like their verdicts.
"""

from django.db import migrations

RULES = """
CREATE TRIGGER assessment_append_only BEFORE UPDATE OR DELETE ON risk_assessment
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
"""


def begin(apps, schema_editor):
    policies = apps.get_model("risk", "RiskPolicy")
    first = policies.objects.filter(portfolio=None, version=1, active=True, created_by="the house").first()
    if first is None or first.total_exposure_pct != 80:
        return
    if apps.get_model("risk", "Verdict").objects.exists():
        policies.objects.filter(pk=first.pk).update(active=False)
        first.pk, first.version = None, 2
    first.total_exposure_pct, first.active = 70, True
    first.save()


class Migration(migrations.Migration):
    dependencies = [("risk", "0003_gates_buckets_and_assessments"), ("audit", "0002_append_only")]
    operations = [
        migrations.RunPython(begin, migrations.RunPython.noop),
        migrations.RunSQL(RULES, migrations.RunSQL.noop),
    ]
