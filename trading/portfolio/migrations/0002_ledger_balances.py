"""Debits equal credits at every commit, and what was posted stays posted."""

from django.db import migrations

RULES = """
CREATE FUNCTION ledger_transaction_balances() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE difference bigint;
BEGIN
    SELECT sum(amount_paise) INTO difference FROM portfolio_ledgerentry WHERE transaction_id = NEW.transaction_id;
    IF difference <> 0 THEN
        RAISE EXCEPTION 'ledger transaction % is off by % paise', NEW.transaction_id, difference
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER ledger_balances AFTER INSERT ON portfolio_ledgerentry
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION ledger_transaction_balances();
CREATE TRIGGER ledger_entry_append_only BEFORE UPDATE OR DELETE ON portfolio_ledgerentry
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER ledger_transaction_append_only BEFORE UPDATE OR DELETE ON portfolio_ledgertransaction
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
"""


class Migration(migrations.Migration):
    dependencies = [("portfolio", "0001_positions_and_ledger"), ("audit", "0002_append_only")]
    operations = [migrations.RunSQL(RULES, migrations.RunSQL.noop)]
