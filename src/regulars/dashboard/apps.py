"""Django's name for this room."""

from django.apps import AppConfig


class DashboardConfig(AppConfig):
    """Registers the room with Django."""

    name = "regulars.dashboard"
