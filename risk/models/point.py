from django.db import models

from accounts.ownership import Owned


class RiskPoint(Owned):
    """The numbers of a portfolio's risk in one minute of a session. Never edited."""

    OWNER = "portfolio__owner"

    portfolio = models.ForeignKey("portfolio.Portfolio", on_delete=models.CASCADE, related_name="risk_points")
    at = models.DateTimeField(help_text="minute of venue time")
    stored_at = models.DateTimeField(null=True, help_text="wall time")
    session_date = models.DateField()
    equity_paise = models.BigIntegerField()
    gross_paise = models.BigIntegerField()
    net_paise = models.BigIntegerField()
    open_risk_paise = models.BigIntegerField()
    worst_case_paise = models.BigIntegerField()
    var_paise = models.BigIntegerField(null=True, help_text="one day, 95 %, historical")
    cvar_paise = models.BigIntegerField(null=True)
    drawdown_pct = models.DecimalField(max_digits=8, decimal_places=4)
    utilisation_pct = models.DecimalField(max_digits=9, decimal_places=2, null=True)

    class Meta:
        ordering = ["at"]
        constraints = [models.UniqueConstraint(fields=["portfolio", "at"], name="risk_point_once")]

    def __str__(self) -> str:
        return f"{self.portfolio} {self.at:%Y-%m-%d %H:%M}"


class RiskReport(Owned):
    """What a session was like, seen from the side of risk. Written once, after its end."""

    OWNER = "portfolio__owner"

    portfolio = models.ForeignKey("portfolio.Portfolio", on_delete=models.CASCADE, related_name="risk_reports")
    session_date = models.DateField()
    body = models.JSONField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-session_date"]
        constraints = [models.UniqueConstraint(fields=["portfolio", "session_date"], name="risk_report_once")]

    def __str__(self) -> str:
        return f"{self.portfolio} {self.session_date}"
