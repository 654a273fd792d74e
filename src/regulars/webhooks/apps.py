"""Django's name for this room."""

from django.apps import AppConfig


class WebhooksConfig(AppConfig):
    """Registers the room with Django."""

    name = "regulars.webhooks"
