"""Django's name for this room."""

from django.apps import AppConfig


class HospitalityConfig(AppConfig):
    """Registers the room with Django."""

    name = "regulars.hospitality"
