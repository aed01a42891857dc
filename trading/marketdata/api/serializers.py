from rest_framework import serializers


class ExpiriesSerializer(serializers.Serializer):
    underlying = serializers.CharField()
    expiries = serializers.ListField(child=serializers.DateField())


class OptionSideSerializer(serializers.Serializer):
    """One option. Prices in rupees, quantities in units, `iv` as a fraction a year; null: not known."""

    ltp = serializers.FloatField(allow_null=True)
    bid = serializers.FloatField(allow_null=True)
    ask = serializers.FloatField(allow_null=True)
    bid_quantity = serializers.FloatField(allow_null=True)
    ask_quantity = serializers.FloatField(allow_null=True)
    oi = serializers.FloatField(allow_null=True)
    oi_change = serializers.FloatField(allow_null=True)
    volume = serializers.FloatField(allow_null=True)
    iv = serializers.FloatField(allow_null=True)
    delta = serializers.FloatField(allow_null=True, required=False)
    gamma = serializers.FloatField(allow_null=True, required=False)
    theta = serializers.FloatField(allow_null=True, required=False)
    vega = serializers.FloatField(allow_null=True, required=False)


class ChainRowSerializer(serializers.Serializer):
    strike = serializers.FloatField()
    call = OptionSideSerializer()
    put = OptionSideSerializer()


class ChainSerializer(serializers.Serializer):
    """A chain as it was known. `spot` null: neither given nor implied by the options."""

    underlying = serializers.CharField()
    exchange = serializers.CharField()
    expiry = serializers.DateField()
    source = serializers.CharField()  # type: ignore[assignment]
    exchange_at = serializers.DateTimeField()
    stored_at = serializers.DateTimeField()
    repeats = serializers.IntegerField()
    stale = serializers.CharField(allow_blank=True)
    spot = serializers.FloatField(allow_null=True)
    put_call_ratio = serializers.FloatField(allow_null=True)
    max_pain = serializers.FloatField()
    rows = ChainRowSerializer(many=True)
