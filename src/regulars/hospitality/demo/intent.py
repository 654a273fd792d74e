"""What the demo restaurant wants: an account that reaches nobody, and its automations."""

from regulars.automations import content
from regulars.automations.accounts import create_account
from regulars.automations.models import Automation
from regulars.hospitality.demo.people import rejected_phone
from regulars.hospitality.demo.texts import templates
from regulars.organizations.models import Organization, User

LETTER = "Carta a los amigos lejanos"
# Trigger, name, parameters; all enabled, all on three channels, all with the trigger's own policy.
AUTOMATIONS: tuple[tuple[str, str, dict[str, object]], ...] = (
    ("inactive", "Te echamos de menos", {}),
    ("birthday", "Feliz cumpleaños", {}),
    ("vip_reward", "Copa para los mejores", {"tiers": ["VIP"], "period": "quarter"}),
    ("post_visit", "Gracias por venir", {}),
    ("reservation_confirmation", "Mesa confirmada", {}),
)
CHANNELS = ["whatsapp", "sms", "email"]


def write_intent(organization: Organization, user: User) -> dict[str, Automation]:
    """Make the account, the five automations, and the earlier win-back letter, switched off since.

    Returns the automations by trigger; the letter under its own name.
    """
    create_account(organization, "Sandbox", "sandbox", {"reject_addresses": [rejected_phone()]})
    made = {
        trigger: _create(organization, user, name, trigger, parameters, enabled=True)
        for trigger, name, parameters in AUTOMATIONS
    }
    letter = _create(organization, user, LETTER, "inactive", {"days": 100}, enabled=False)
    return made | {LETTER: letter}


def _create(
    organization: Organization,
    user: User,
    name: str,
    trigger: str,
    parameters: dict[str, object],
    *,
    enabled: bool,
) -> Automation:
    definition = content.Definition.model_validate(
        {
            "name": name,
            "trigger": trigger,
            "parameters": parameters,
            "channels": CHANNELS,
            "templates": templates(trigger),
            "enabled": enabled,
        }
    )
    return content.create(organization, definition, user)
