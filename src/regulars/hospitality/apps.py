"""Django's name for this room, and what the pack tells the engine when it is loaded."""

from django.apps import AppConfig


class HospitalityConfig(AppConfig):
    """Registers the room with Django; its triggers, venues and promises to come with the engine."""

    name = "regulars.hospitality"

    def ready(self) -> None:
        from regulars.automations import triggers
        from regulars.hospitality import conditions, importing, invariants
        from regulars.hospitality.triggers import TRIGGERS
        from regulars.hospitality.upcoming import bookings_ahead, guests_who_booked
        from regulars.hospitality.venues import clocks, venues_named, zones_of_venues

        for trigger in TRIGGERS:
            triggers.register(trigger)
        triggers.register_upcoming(guests_who_booked)
        triggers.register_promises(bookings_ahead)
        triggers.register_venues(venues_named)
        triggers.register_timezones(zones_of_venues)
        triggers.register_clocks(clocks)
        conditions.register()
        importing.register()
        invariants.register()
