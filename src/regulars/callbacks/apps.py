"""Django's name for this room."""

from django.apps import AppConfig


class CallbacksConfig(AppConfig):
    """Registers the room with Django."""

    name = "regulars.callbacks"
