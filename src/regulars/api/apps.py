"""Django's name for this room."""

from django.apps import AppConfig


class ApiConfig(AppConfig):
    """Registers the room with Django."""

    name = "regulars.api"
