from django.db import migrations

# What was published is quoted by trades for ever, and a step is a fact: the database itself refuses to change them.
IMMUTABLE = """
CREATE TRIGGER contract_version_immutable BEFORE UPDATE OR DELETE ON strategies_contractversion
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER stage_move_append_only BEFORE UPDATE OR DELETE ON strategies_stagemove
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
"""
MUTABLE = """
DROP TRIGGER contract_version_immutable ON strategies_contractversion;
DROP TRIGGER stage_move_append_only ON strategies_stagemove;
"""


class Migration(migrations.Migration):
    dependencies = [("audit", "0002_append_only"), ("strategies", "0003_stages")]
    operations = [migrations.RunSQL(IMMUTABLE, MUTABLE)]
