"""Django's name for this room."""

from django.apps import AppConfig


class CustomersConfig(AppConfig):
    """Registers the room with Django."""

    name = "regulars.customers"
