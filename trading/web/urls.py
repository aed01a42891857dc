"""The pages of the desk."""

from django.urls import path, re_path

from trading.web.pages import acts, dashboard, journal, orders, positions, signals, state, ticket

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
