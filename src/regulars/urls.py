"""Where everything is served: the API under /api, the pages everywhere else."""

from django.urls import URLPattern, URLResolver, include, path

from regulars.api.application import api

urlpatterns: list[URLPattern | URLResolver] = [
    path("api/", api.urls),
    path("", include("regulars.dashboard.urls")),
]
