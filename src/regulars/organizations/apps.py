"""Django's name for this room."""

from django.apps import AppConfig


class OrganizationsConfig(AppConfig):
    """Registers the room with Django."""

    name = "regulars.organizations"
