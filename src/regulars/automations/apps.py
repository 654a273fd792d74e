"""Django's name for this room."""

from django.apps import AppConfig


class AutomationsConfig(AppConfig):
    """Registers the room with Django."""

    name = "regulars.automations"

    def ready(self) -> None:
        """Tell the guests' room whose accounts know user ids."""
        from regulars.automations.accounts import portfolios
        from regulars.customers.portfolios import register

        register(portfolios)
