"""Django's name for this room."""

from django.apps import AppConfig


class AutomationsConfig(AppConfig):
    """Registers the room with Django."""

    name = "regulars.automations"
