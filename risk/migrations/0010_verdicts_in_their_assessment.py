"""Forty rows an order become one: what every gate said is kept with all that they saw, and the table of verdicts goes.

What was judged before anything but its verdicts was kept has an assessment of them alone.
"""

import django.db.models.deletion
from django.db import migrations, models

# Facts are never edited: their trigger steps aside for the move.
MOVE = """
ALTER TABLE risk_assessment DISABLE TRIGGER assessment_append_only;
CREATE TEMPORARY TABLE told ON COMMIT DROP AS
SELECT intent_id, min(portfolio_id) AS portfolio_id, min(policy) AS policy, min(at) AS at,
       jsonb_agg(jsonb_build_array(gate, outcome, quantity, value, "limit", message) ORDER BY position) AS said,
       (array_agg(outcome ORDER BY position DESC))[1] AS last_outcome,
       (array_agg(gate ORDER BY position DESC))[1] AS last_gate,
       (array_agg(quantity ORDER BY position DESC))[1] AS last_quantity
FROM risk_verdict GROUP BY intent_id;
ANALYZE told;
UPDATE risk_assessment a SET said = told.said, policy = told.policy FROM told WHERE told.intent_id = a.intent_id;
INSERT INTO risk_assessment (portfolio_id, intent_id, policy_id, policy, said, intent, snapshot, allowed_quantity,
                             refused_by, at, stored_at)
SELECT portfolio_id, intent_id, 0, policy, said, '{}', '{}',
       CASE WHEN last_outcome = 'REJECT' THEN 0 ELSE last_quantity END,
       CASE WHEN last_outcome = 'REJECT' THEN last_gate ELSE '' END, at, at
FROM told WHERE NOT EXISTS (SELECT FROM risk_assessment a WHERE a.intent_id = told.intent_id);
ALTER TABLE risk_assessment ENABLE TRIGGER assessment_append_only;
"""

BACK = """
INSERT INTO risk_verdict
  (portfolio_id, intent_id, "position", gate, outcome, quantity, value, "limit", message, policy, at)
SELECT a.portfolio_id, a.intent_id, said.place - 1, one ->> 0, one ->> 1, (one ->> 2)::bigint, one ->> 3, one ->> 4,
       one ->> 5, a.policy, a.at
FROM risk_assessment a, jsonb_array_elements(a.said) WITH ORDINALITY AS said (one, place);
CREATE TRIGGER verdict_append_only BEFORE UPDATE OR DELETE ON risk_verdict
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
"""

# A row of some four kilobytes stays in its page, and what is packed in it is packed by the quicker way, where there is
# one.
PACKED = """
ALTER TABLE risk_assessment SET (toast_tuple_target = 4096);
DO $$ BEGIN
    IF EXISTS (SELECT FROM pg_settings WHERE name = 'default_toast_compression' AND 'lz4' = ANY(enumvals)) THEN
        ALTER TABLE risk_assessment ALTER COLUMN said SET COMPRESSION lz4, ALTER COLUMN snapshot SET COMPRESSION lz4,
            ALTER COLUMN intent SET COMPRESSION lz4;
    END IF;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("portfolio", "0004_watchlists_and_chart_settings"),
        ("execution", "0002_facts_stay"),
        ("risk", "0009_verdicts_are_light"),
    ]

    operations = [
        migrations.AlterField(
            model_name="assessment",
            name="portfolio",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="assessments",
                to="portfolio.portfolio",
            ),
        ),
        migrations.AlterField(
            model_name="assessment",
            name="policy_id",
            field=models.BigIntegerField(help_text="version of the limits that decided; 0: not kept"),
        ),
        migrations.AddField(
            model_name="assessment",
            name="policy",
            field=models.CharField(default="", help_text="its name and version", max_length=80),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="assessment",
            name="said",
            field=models.JSONField(
                default=list, help_text="[gate, outcome, quantity, value, limit, message] of each gate, in their order"
            ),
            preserve_default=False,
        ),
        migrations.RunSQL(MOVE, BACK),
        migrations.DeleteModel(name="Verdict"),
        migrations.RunSQL(PACKED, migrations.RunSQL.noop),
    ]
