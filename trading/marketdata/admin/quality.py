"""What the candles are worth, and option chains as they were seen."""

from django.contrib import admin
from django.utils.html import format_html, format_html_join

from accounts.console import ReadOnlyAdmin, ShallowPaginator
from trading.marketdata.models import ChainSnapshot, QualityDay
from trading.marketdata.option_chain import Chain, as_rows

SHOWN = ("ltp", "bid", "ask", "oi", "volume", "iv")


@admin.register(QualityDay)
class QualityDayAdmin(ReadOnlyAdmin):
    list_display = (
        "day", "instrument", "timeframe", "score", "present", "expected", "untrusted", "told", "largest_gap",
        "gap_from", "feed",
    )  # fmt: skip
    list_select_related = ("instrument", "feed")
    list_filter = ("feed", "timeframe")
    search_fields = ("=instrument__symbol",)
    date_hierarchy = "day"
    ordering = ("-day",)
    paginator = ShallowPaginator

    @admin.display(description="defects")
    def told(self, row: QualityDay) -> str:
        return ", ".join(f"{code} {count}" for code, count in sorted(row.defects.items())) or "none"


@admin.register(ChainSnapshot)
class ChainSnapshotAdmin(ReadOnlyAdmin):
    """Option chains as they were seen. The strikes themselves are shown on request of one row."""

    list_display = (
        "exchange_at", "underlying", "expiry", "strikes", "spot", "call_oi", "put_oi", "lag", "repeats", "source",
    )  # fmt: skip
    list_filter = ("underlying", "source")
    search_fields = ("=underlying",)
    date_hierarchy = "exchange_at"
    ordering = ("-exchange_at",)
    paginator = ShallowPaginator
    hidden = ("packed",)
    extra_facts = ("lag", "table")

    @admin.display(description="lag")
    def lag(self, row: ChainSnapshot) -> str:
        return f"{row.lag_s:.0f} s"

    @admin.display(description="strikes")
    def table(self, snapshot: ChainSnapshot) -> str:
        lines = (
            (f"{one['strike']:g}", *(_cell(one[side][name]) for side in ("call", "put") for name in SHOWN))
            for one in as_rows(Chain.unpack(snapshot.packed))
        )
        head = format_html_join("", "<th>{}</th>", ((name,) for name in ("strike", *SHOWN, *SHOWN)))
        body = format_html_join(
            "", "<tr>{}</tr>", ((format_html_join("", "<td>{}</td>", zip(line)),) for line in lines)
        )
        return format_html("<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>", head, body)


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:,.10g}"
