from django.db import migrations

# A request named its slippage in basis points alone; it is a text now, of which basis points are one kind.
FORWARD = """
UPDATE strategies_backtestrun
   SET request = (request - 'slippage_bps') || jsonb_build_object('slippage', request->'slippage_bps')
 WHERE request ? 'slippage_bps'
"""


class Migration(migrations.Migration):
    dependencies = [("strategies", "0006_signals_of_hooks")]

    operations = [migrations.RunSQL(FORWARD, migrations.RunSQL.noop)]
