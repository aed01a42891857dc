"""The addresses under /api/v1/."""

from csp.constants import NONE, SELF, UNSAFE_INLINE
from csp.decorators import csp_replace
from django.urls import path, re_path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView

import trading.api.schema  # noqa: F401 - tells drf-spectacular of our keys, when there is something to describe
from execution.api import (
    accounts,
    backfills,
    corporate_actions,
    engine,
    hooks,
    ladders,
    large_orders,
    offsets,
    quality,
    risk,
)
from execution.api import views as execution
from execution.api.postbacks import Postback
from strategies.api import backtests
from strategies.api import views as strategies
from trading.api.views import Nowhere
from trading.marketdata.api import candles
from trading.marketdata.api import views as market
from trading.portfolio.api import views as portfolio

# Swagger UI writes style attributes; its pages, and only they, may.
swagger = csp_replace({"style-src": [SELF, UNSAFE_INLINE], "img-src": [SELF, "data:"], "object-src": [NONE]})

urlpatterns = [
    path("accounts/", accounts.Accounts.as_view(), name="api_accounts"),
    path("accounts/paper/", accounts.PaperAccounts.as_view(), name="api_paper_accounts"),
    path("portfolios/", portfolio.PortfolioList.as_view(), name="api_portfolios"),
    path("dashboard/", execution.Dashboard.as_view(), name="api_dashboard"),
    path("engine/", engine.Engine.as_view(), name="api_engine"),
    path("engine/settings/", engine.Settings.as_view(), name="api_engine_settings"),
    path("engine/ladders/", ladders.Ladders.as_view(), name="api_ladders"),
    path("engine/ladders/<int:ladder_id>/", ladders.Ladder.as_view(), name="api_ladder"),
    path("engine/queue/<int:queued_id>/", engine.QueueAct.as_view(), name="api_queue_act"),
    path("engine/offset/run/", offsets.OffsetRun.as_view(), name="api_offset_run"),
    path("engine/offset/<uuid:group_id>/", offsets.OffsetAct.as_view(), name="api_offset_act"),
    path("risk/", risk.RiskNow.as_view(), name="api_risk"),
    path("risk/history/", risk.RiskHistory.as_view(), name="api_risk_history"),
    path("risk/policy/", risk.Policy.as_view(), name="api_risk_policy"),
    path("risk/reports/<str:day>/", risk.RiskReports.as_view(), name="api_risk_report"),
    path("risk/kill/", risk.KillSwitch.as_view(), name="api_kill"),
    path("risk/kill/rearm/", risk.KillRearm.as_view(), name="api_kill_rearm"),
    path("why/<slug:kind>/<str:ref>/", risk.WhyEndpoint.as_view(), name="api_why"),
    path("positions/", execution.Positions.as_view(), name="api_positions"),
    path("positions/<uuid:group_id>/close/", execution.PositionClose.as_view(), name="api_position_close"),
    path("orders/", execution.Orders.as_view(), name="api_orders"),
    path("orders/<int:order_id>/", execution.OrderDetail.as_view(), name="api_order"),
    path("orders/<int:order_id>/cancel/", execution.OrderCancel.as_view(), name="api_order_cancel"),
    path("large-orders/", large_orders.LargeOrders.as_view(), name="api_large_orders"),
    path(
        "deployments/<int:deployment_id>/work/", large_orders.DeploymentWorkView.as_view(), name="api_deployment_work"
    ),
    path("large-orders/<int:parent_id>/", large_orders.LargeOrderDetail.as_view(), name="api_large_order"),
    path(
        "large-orders/<int:parent_id>/withdraw/",
        large_orders.LargeOrderWithdraw.as_view(),
        name="api_large_order_withdraw",
    ),
    path("execution-quality/", quality.ExecutionQuality.as_view(), name="api_execution_quality"),
    path("portfolios/<int:portfolio_id>/contract-notes/", portfolio.ContractNotes.as_view(), name="api_contract_notes"),
    path("watchlists/", portfolio.Watchlists.as_view(), name="api_watchlists"),
    path("watchlists/<int:watchlist_id>/", portfolio.WatchlistDetail.as_view(), name="api_watchlist"),
    path("watchlists/<int:watchlist_id>/items/", portfolio.WatchlistItems.as_view(), name="api_watchlist_items"),
    path(
        "watchlists/<int:watchlist_id>/items/<str:symbol>/",
        portfolio.WatchlistItem.as_view(),
        name="api_watchlist_item",
    ),
    path("signals/", execution.Signals.as_view(), name="api_signals"),
    path("hooks/", hooks.Hooks.as_view(), name="api_hooks"),
    path("hooks/deliveries/", hooks.Deliveries.as_view(), name="api_hook_deliveries"),
    path("hooks/deliveries/<uuid:delivery_id>/replay/", hooks.DeliveryReplay.as_view(), name="api_delivery_replay"),
    path("hooks/<uuid:hook_id>/", hooks.HookDetail.as_view(), name="api_hook"),
    path("hooks/<uuid:hook_id>/rotate/", hooks.HookRotate.as_view(), name="api_hook_rotate"),
    path("hooks/<uuid:hook_id>/switch/", hooks.HookSwitch.as_view(), name="api_hook_switch"),
    path("backtests/", backtests.Backtests.as_view(), name="api_backtests"),
    path("holdings/risk/", backtests.HoldingsRiskView.as_view(), name="api_holdings_risk"),
    path("backtests/compare/", backtests.BacktestCompare.as_view(), name="api_backtest_compare"),
    path("backtests/<uuid:run_id>/", backtests.BacktestDetail.as_view(), name="api_backtest"),
    path("backtests/<uuid:run_id>/cancel/", backtests.BacktestCancel.as_view(), name="api_backtest_cancel"),
    path("backtests/<uuid:run_id>/report/", backtests.BacktestReport.as_view(), name="api_backtest_report"),
    path("backtests/<uuid:run_id>/trades/", backtests.BacktestTrades.as_view(), name="api_backtest_trades"),
    path("backtests/<uuid:run_id>/export/<str:name>", backtests.BacktestExport.as_view(), name="api_backtest_export"),
    path("contracts/", strategies.Contracts.as_view(), name="api_contracts"),
    path("contracts/validate/", strategies.Validate.as_view(), name="api_contracts_validate"),
    path("contracts/<int:contract_id>/", strategies.ContractDetail.as_view(), name="api_contract"),
    path("versions/<int:version_id>/", strategies.VersionDetail.as_view(), name="api_version"),
    path("versions/<int:version_id>/move/", strategies.VersionMove.as_view(), name="api_version_move"),
    path("deployments/", strategies.Deployments.as_view(), name="api_deployments"),
    re_path(
        r"^deployments/(?P<deployment_id>\d{1,12})/(?P<act>pause|resume|stop)/$",
        strategies.DeploymentAct.as_view(),
        name="api_deployment_act",
    ),
    path("backfills/", backfills.Backfills.as_view(), name="api_backfills"),
    path("backfills/<uuid:backfill_id>/", backfills.BackfillDetail.as_view(), name="api_backfill"),
    path("backfills/<uuid:backfill_id>/cancel/", backfills.BackfillCancel.as_view(), name="api_backfill_cancel"),
    path("corporate-actions/", corporate_actions.CorporateActions.as_view(), name="api_corporate_actions"),
    path(
        "corporate-actions/withdraw/",
        corporate_actions.CorporateActionWithdraw.as_view(),
        name="api_corporate_action_withdraw",
    ),
    path("candles/", candles.CandlesDownload.as_view(), name="api_candles"),
    path("calls-saved/", backfills.CallsSaved.as_view(), name="api_calls_saved"),
    path("postbacks/<str:key>/", Postback.as_view(), name="api_postback"),
    path("option-chain/", market.OptionChainDetail.as_view(), name="api_option_chain"),
    path("option-chain/expiries/", market.OptionChainExpiries.as_view(), name="api_option_chain_expiries"),
    path("schema/", SpectacularAPIView.as_view(), name="api_schema"),
    path("docs/", swagger(SpectacularSwaggerSplitView.as_view(url_name="api_schema")), name="api_docs"),
    re_path(r"^.*$", Nowhere.as_view(), name="api_nowhere"),
]
