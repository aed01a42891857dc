"""Every address of the desk."""

from django.contrib import admin
from django.urls import include, path

from trading.monitoring.health import healthz, readyz

urlpatterns = [
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
    path("console/", admin.site.urls),
    path("account/", include("allauth.urls")),
    path("api/v1/", include("trading.urls_api")),
    path("", include("trading.web.urls")),
]

handler403 = "trading.web.pages.errors.forbidden"
handler404 = "trading.web.pages.errors.not_found"
handler500 = "trading.web.pages.errors.broken"
