"""Every address of the desk."""

from django.contrib import admin
from django.urls import include, path

from execution.views import hook_door
from trading.monitoring.health import healthz, readyz

admin.autodiscover()  # here, not at the start of every process: a worker or a scanner has no use for the console

urlpatterns = [
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
    path("console/", admin.site.urls),
    path("account/", include("allauth.urls")),
    path("api/v1/", include("trading.urls_api")),
    path("hooks/<str:hook_id>/", hook_door, name="hook"),
    path("hooks/<str:hook_id>", hook_door),  # a redirect to the slash would lose the alert
    path("", include("trading.web.urls")),
]

handler403 = "trading.web.pages.errors.forbidden"
handler404 = "trading.web.pages.errors.not_found"
handler500 = "trading.web.pages.errors.broken"
