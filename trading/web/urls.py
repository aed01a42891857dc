"""The pages of the desk."""

from django.urls import path, re_path

from trading.web.pages import (
    acts,
    dashboard,
    journal,
    market,
    market_instrument,
    orders,
    positions,
    signals,
    state,
    ticket,
)

SYMBOL = r"(?P<symbol>[^/:]+:[^/:]+)"  # NSE:SBIN-EQ: the colon keeps it apart from the pages beside it

app_name = "web"
urlpatterns = [
    path("", dashboard.dashboard, name="dashboard"),
    path("positions/", positions.positions, name="positions"),
    path("positions/<uuid:group_id>/close/", positions.close, name="close"),
    path("positions/<uuid:group_id>/progress/", positions.progress, name="close-progress"),
    path("orders/", orders.orders, name="orders"),
    path("orders/<int:order_id>/", orders.order, name="order"),
    path("orders/<int:order_id>/cancel/", orders.cancel, name="cancel"),
    path("signals/", signals.signals, name="signals"),
    path("journal/", journal.journal, name="journal"),
    path("market/", market.market, name="market"),
    path("market/find/", market.find, name="market-find"),
    path("market/watchlists/", market.create, name="watchlist-create"),
    path("market/watchlists/<int:watchlist_id>/rename/", market.rename, name="watchlist-rename"),
    path("market/watchlists/<int:watchlist_id>/delete/", market.delete, name="watchlist-delete"),
    path("market/watchlists/<int:watchlist_id>/add/", market.add, name="watchlist-add"),
    path("market/watchlists/<int:watchlist_id>/remove/", market.remove, name="watchlist-remove"),
    path("market/watchlists/<int:watchlist_id>/move/", market.move, name="watchlist-move"),
    re_path(rf"^market/{SYMBOL}/$", market_instrument.instrument, name="instrument"),
    re_path(rf"^market/{SYMBOL}/candles/$", market_instrument.candles, name="instrument-candles"),
    re_path(rf"^market/{SYMBOL}/chart/$", market_instrument.chart, name="instrument-chart"),
    path("ticket/", ticket.ticket, name="ticket"),
    path("ticket/symbols/", ticket.symbols, name="symbols"),
    path("ticket/quote/", ticket.quote, name="quote"),
    path("approvals/<uuid:intent_id>/", acts.decide, name="decide"),
    path("alerts/<int:alert_id>/acknowledge/", acts.acknowledge, name="acknowledge"),
    re_path(r"^engine/(?P<account_id>\d+)/(?P<act>pause|resume)/$", acts.engine, name="engine"),
    path("kill/", acts.kill, name="kill"),
    path("kill/progress/", acts.kill_progress, name="kill-progress"),
    path("kill/rearm/", acts.rearm, name="rearm"),
    path("desk/state/", state.state, name="state"),
    path("desk/equity/", state.equity, name="equity"),
    path("desk/portfolio/", dashboard.choose_portfolio, name="choose-portfolio"),
    path("desk/part/<slug:name>/", dashboard.part, name="part"),
]
