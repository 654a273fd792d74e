"""Django's name for this room."""

from django.apps import AppConfig


class RunsConfig(AppConfig):
    """Registers the room with Django."""

    name = "regulars.runs"
