from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("marketdata", "0005_candles_are_packed")]

    operations = [
        migrations.DeleteModel(name="Candle"),
        migrations.DeleteModel(name="CandleRevision"),
    ]
