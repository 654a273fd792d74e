"""Codes in words, for people, in their language. Decides nothing, reads nothing."""

from collections.abc import Mapping
from typing import Any

from django.utils.formats import date_format
from django.utils.functional import Promise
from django.utils.timezone import localtime
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from regulars.runs import eligibility, engine

Words = str | Promise

RUN_STATES: dict[str, Words] = {
    "planning": _("planning"),
    "sending": _("sending"),
    "waiting": _("waiting"),
    "finished": _("finished"),
    "paused": _("paused"),
    "cancelled": _("cancelled"),
    "failed": _("failed"),
    "missed": _("missed"),
}
MESSAGE_STATES: dict[str, Words] = {
    "queued": _("queued"),
    "sending": _("sending"),
    "sent": _("sent"),
    "delivered": _("delivered"),
    "read": _("read"),
    "failed": _("failed"),
    "withheld": _("withheld"),
    "unknown": _("unknown"),
    "bounced": _("bounced"),
}
CHANNELS: dict[str, Words] = {"whatsapp": _("WhatsApp"), "sms": _("SMS"), "email": _("E-mail")}
PURPOSES: dict[str, Words] = {"marketing": _("Marketing"), "transactional": _("Transactional")}
ORIGINS: dict[str, Words] = {
    "manual": _("by hand"),
    "schedule": _("by schedule"),
    "scheduled": _("by schedule"),
    "cron": _("by schedule"),
    "event": _("by an event"),
    "api": _("over the API"),
    "cli": _("from the command line"),
}
DELIVERIES: dict[str, Words] = {
    "at_most_once": _("A person decides; nobody gets it twice."),
    "at_least_once": _("It is sent again by itself; a guest may get it twice."),
}
PERIODS: dict[str, Words] = {"month": _("month"), "quarter": _("quarter"), "year": _("year")}
# How a state looks: the colour says what the word says, never alone.
TONES = {
    "sent": "good",
    "delivered": "good",
    "read": "good",
    "finished": "good",
    "failed": "bad",
    "bounced": "bad",
    "unknown": "doubt",
    "paused": "doubt",
    "missed": "doubt",
    "sending": "busy",
    "planning": "busy",
    "waiting": "busy",
    "queued": "busy",
}


def in_words(codes: Mapping[str, Words], code: str) -> str:
    """The words for `code`; a code that has none yet is shown as it is, readable."""
    return str(codes.get(code) or code.replace("_", " "))


def reason(code: str) -> str:
    """Why a guest is left out, in words that follow the guest's name, as the engine says it."""
    return gettext(eligibility.words(code))


def hold(found: engine.Hold) -> str:
    """What keeps a run waiting, and until when."""
    known = {"account": found.account, "limit": found.limit, "reason": found.reason}
    if found.until is not None:
        known["until"] = date_format(localtime(found.until), "DATETIME_FORMAT")
    match found.why, found.unit:
        case "quiet_hours", _unit:
            text = gettext("It is quiet hours. The next messages leave at %(until)s.")
        case "rate", "minute":
            text = gettext("%(account)s sends at most %(limit)s a minute.")
        case "rate", _unit:
            text = gettext("%(account)s sends at most %(limit)s a second.")
        case "daily_limit", _unit:
            text = gettext("%(account)s has sent the %(limit)s of today. The rest leaves from %(until)s on.")
        case _other:
            text = gettext(
                "%(account)s has trouble and is tried again at %(until)s. Nobody is lost. %(reason)s"
            )
    return text % known


def who_gets_it(kind: str, parameters: Mapping[str, Any], label: str) -> str:
    """The sentence that says whom an automation is for; a an unknown trigger gives its label."""
    match kind:
        case "inactive":
            return _inactive(parameters)
        case "birthday":
            return gettext("Guests whose birthday we know.")
        case "vip_reward":
            tiers = ", ".join(parameters.get("tiers") or ())
            return gettext("Guests of the tier %(tiers)s.") % {"tiers": tiers}
        case "post_visit":
            return gettext("Guests who have just eaten here.")
        case "reservation_confirmation":
            return gettext("Guests whose booking is confirmed.")
    return gettext(label)


def _inactive(parameters: Mapping[str, Any]) -> str:
    days = int(parameters.get("days") or 0)
    visits = int(parameters.get("min_visits") or 1)
    came = ngettext(
        "Guests who came at least once and", "Guests who came at least %(count)d times and", visits
    ) % {"count": visits}
    stayed_away = ngettext(
        "have not been here for %(count)d day.", "have not been here for %(count)d days.", days
    ) % {"count": days}
    if not parameters.get("max_days"):
        return f"{came} {stayed_away}"
    longest = gettext("Not those who stayed away for more than %(count)d days.") % {
        "count": parameters["max_days"]
    }
    return f"{came} {stayed_away} {longest}"


def why_now(kind: str, parameters: Mapping[str, Any]) -> str:
    """The sentence that says on what occasion an automation writes, and how often."""
    match kind:
        case "inactive":
            return gettext("They have stayed away; once for each time they do.")
        case "birthday":
            return _before_the_birthday(int(parameters.get("lead_days") or 0))
        case "vip_reward":
            return _once_a(str(parameters.get("period") or ""))
        case "post_visit":
            hours = int(parameters.get("delay_hours") or 0)
            return ngettext(
                "%(count)d hour after each visit.", "%(count)d hours after each visit.", hours
            ) % {"count": hours}
        case "reservation_confirmation":
            return gettext("As soon as the booking is confirmed, once for each booking.")
        case _:
            return gettext("When the occasion comes, once for each.")


def _before_the_birthday(lead: int) -> str:
    if not lead:
        return gettext("On the birthday itself, once a year.")
    return ngettext(
        "From %(count)d day before the birthday, once a year.",
        "From %(count)d days before the birthday, once a year.",
        lead,
    ) % {"count": lead}


def _once_a(period: str) -> str:
    if period not in PERIODS:
        return gettext("When they rise to the tier.")
    return gettext("Once a %(period)s.") % {"period": in_words(PERIODS, period)}
