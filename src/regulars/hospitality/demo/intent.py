"""What the demo restaurant wants: an account that reaches nobody, and its automations."""

from datetime import datetime

from regulars.automations import content
from regulars.automations.accounts import create_account
from regulars.automations.models import Automation
from regulars.hospitality.demo.people import rejected_phone
from regulars.hospitality.demo.texts import templates
from regulars.organizations.models import Organization, User

LETTER = "Carta a los amigos lejanos"
# When the daily ones run, on the organization's clock.
HOUR = 11
DAILY: dict[str, object] = {"times": [f"{HOUR}:00"]}
# Trigger, name, parameters, schedule; all enabled, all on three channels, with the trigger's own policy.
AUTOMATIONS: tuple[tuple[str, str, dict[str, object], dict[str, object] | None], ...] = (
    # By hand: the example is for whoever tries things out.
    ("inactive", "Te echamos de menos", {}, None),
    ("birthday", "Feliz cumpleaños", {}, DAILY),
    (
        "vip_reward",
        "Copa para los mejores",
        {"tiers": ["VIP"], "period": "quarter"},
        {"cron": "0 12 1 1,4,7,10 *"},
    ),
    ("post_visit", "Gracias por venir", {}, DAILY),
    ("reservation_confirmation", "Mesa confirmada", {}, {"as_it_happens": True}),
)
CHANNELS = ["whatsapp", "sms", "email"]


def write_intent(organization: Organization, user: User, now: datetime) -> dict[str, Automation]:
    """Make the account, the five automations, and the earlier win-back letter, switched off since.

    Returns the automations by trigger; the letter under its own name.
    """
    create_account(organization, "Sandbox", "sandbox", {"reject_addresses": [rejected_phone()]})
    definitions = {
        trigger: _definition(name, trigger, parameters) | {"schedule": schedule, "enabled": True}
        for trigger, name, parameters, schedule in AUTOMATIONS
    }
    definitions[LETTER] = _definition(LETTER, "inactive", {"days": 100})
    return {
        key: content.create(organization, content.parse_definition(definition), user, now)
        for key, definition in definitions.items()
    }


def _definition(name: str, trigger: str, parameters: dict[str, object]) -> dict[str, object]:
    return {
        "name": name,
        "trigger": trigger,
        "parameters": parameters,
        "channels": CHANNELS,
        "templates": templates(trigger),
    }
