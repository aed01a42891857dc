"""Fills and order events are facts: written once, never edited, never removed."""

from django.db import migrations

RULES = """
CREATE TRIGGER fill_append_only BEFORE UPDATE OR DELETE ON execution_fill
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER order_event_append_only BEFORE UPDATE OR DELETE ON execution_orderevent
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER verdict_append_only BEFORE UPDATE OR DELETE ON risk_verdict
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("execution", "0001_groups_orders_fills"),
        ("risk", "0001_policies_and_verdicts"),
        ("audit", "0002_append_only"),
    ]
    operations = [migrations.RunSQL(RULES, migrations.RunSQL.noop)]
