"""Codes in words, for people, in their language. Decides nothing, reads nothing."""

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from typing import Any

from django.utils.dates import WEEKDAYS
from django.utils.formats import date_format
from django.utils.functional import Promise
from django.utils.timezone import localtime
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from regulars.automations import schedule as schedules
from regulars.automations import slots
from regulars.automations.evidence import Contact, Evidence, Term, Value
from regulars.automations.problems import Problem
from regulars.dashboard import elsewhere
from regulars.lib.masking import mask_address
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
SHOWS: dict[str, Words] = {
    "no_language": _("no language"),
    "no_first_name": _("no first name"),
    "long_name": _("a long name"),
}
VERDICTS: dict[str, Words] = {
    "send": _("would get it"),
    "hold": _("would get it later"),
    "skip": _("left out"),
    "not_due": _("not due"),
    "not_ready": _("not ready"),
}
PURPOSES: dict[str, Words] = {"marketing": _("Marketing"), "transactional": _("Transactional")}
ORIGINS: dict[str, Words] = {
    "manual": _("by hand"),
    "schedule": _("by schedule"),
    "scheduled": _("by schedule"),
    "cron": _("by schedule"),
    "event": _("by an event"),
    "look": _("as it happens"),
    "api": _("over the API"),
    "cli": _("from the command line"),
}
DELIVERIES: dict[str, Words] = {
    "at_most_once": _("A person decides; nobody gets it twice."),
    "at_least_once": _("It is sent again by itself; a guest may get it twice."),
}
FALLBACKS: dict[bool, Words] = {
    False: _("Nothing else is tried."),
    True: _("The next channel that the guest has agreed to is tried, once it is certain."),
}
# What is wrong with a field of the form, by its name.
SCHEDULE_FAULTS: dict[str, Words] = {
    "times": _("Write times of day such as 10:00, with commas between them."),
    "weekdays": _("Choose days of the week."),
    "cron": _(schedules.NO_CRON),
    "as_it_happens": _(slots.NOT_BY_EVENT),
    "timezone": _(schedules.NO_SUCH_ZONE),
    "max_late_hours": _("Say in whole hours how late it may be, from 1 to 72."),
}
PERIODS: dict[str, Words] = {"month": _("month"), "quarter": _("quarter"), "year": _("year")}
# How a state looks: the colour says what the word says, never alone.
TONES = {
    "send": "good",
    "hold": "busy",
    "skip": "doubt",
    "not_ready": "doubt",
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


def explanation(found: engine.Explanation) -> str:
    """The verdict about one guest in words."""
    match found.verdict:
        case "not_ready":
            return found.words
        case "send":
            return gettext("is due, by %(channel)s") % {"channel": in_words(CHANNELS, found.channel or "")}
        case "skip":
            return reason(found.reason or "")
    return gettext(found.words)


def evidence(fact: Evidence, *, sees_contact_data: bool) -> str:
    """One fact in the reader's language; moments in the page's zone, unless they are a venue's."""
    return gettext(fact.words) % {
        name: _place(value, sees_contact_data) for name, value in fact.values.items()
    }


def _place(value: Value, sees_contact_data: bool) -> str:
    if isinstance(value, datetime):
        there = localtime(value) if value.tzinfo is UTC else value
        return date_format(there, gettext("j F Y, H:i"))
    if isinstance(value, date):
        return date_format(value, gettext("j F Y"))
    if isinstance(value, Term) and value:
        return gettext(value)
    if isinstance(value, Contact) and not sees_contact_data:
        return mask_address(value)
    return str(value)


def shows(feature: str) -> str:
    """What a sample was chosen for, in words."""
    kind, _, language = feature.partition(" ")
    if language:
        return gettext("language %(language)s") % {"language": language}
    return in_words(SHOWS | CHANNELS, kind)


def run_reason(text: str) -> str:
    """Why a run is paused, failed or was missed; a provider's own words stay as they are."""
    known = next((each for each in elsewhere.MISSED if text.startswith(each)), "")
    return (gettext(known) + text.removeprefix(known)) if known else text


def when(schedule: Mapping[str, Any] | None) -> str:
    """The sentence that says when an automation runs by itself."""
    if not schedule:
        return gettext("By hand, or when an outside cron calls.")
    if "as_it_happens" in schedule:
        return gettext("As it happens, within a minute.")
    if "cron" in schedule:
        return gettext("By the cron expression %(cron)s.") % {"cron": schedule["cron"]}
    times = ", ".join(schedule["times"])
    if not schedule.get("weekdays"):
        return gettext("Every day at %(times)s.") % {"times": times}
    names = dict(zip(schedules.WEEKDAYS, WEEKDAYS.values(), strict=True))
    days = ", ".join(str(names[day]) for day in schedule["weekdays"])
    return gettext("%(days)s at %(times)s.") % {"days": days, "times": times}


def schedule_faults(problems: Iterable[Problem]) -> dict[str, str]:
    """What is wrong with a schedule, by the field of the form that it is about."""
    found = {}
    for problem in problems:
        field = problem["path"].removeprefix("schedule").lstrip(".").partition("[")[0]
        found[field] = str(SCHEDULE_FAULTS.get(field, problem["problem"]))
    return found


def hold(found: engine.Hold) -> str:
    """What keeps a run waiting, and until when."""
    known = {"account": found.account, "limit": found.limit, "reason": found.reason}
    if found.until is not None:
        known["until"] = date_format(localtime(found.until), "j M Y, H:i")
    match found.why, found.unit:
        case "quiet_hours", _unit:
            text = gettext("It is quiet hours. The next messages leave at %(until)s.")
        case "rate", "minute":
            text = gettext("%(account)s sends at most %(limit)s a minute.")
        case "rate", _unit:
            text = gettext("%(account)s sends at most %(limit)s a second.")
        case "daily_limit", _unit:
            text = gettext("%(account)s has sent the %(limit)s of today. The rest leaves from %(until)s on.")
        case "recipients", _unit:
            text = gettext(
                "%(account)s has written to %(limit)s guests in 24 hours, as many as WhatsApp allows. "
                "The rest leaves as room comes, from %(until)s on."
            )
        case _other:
            text = gettext(
                "%(account)s has trouble and is tried again at %(until)s. Nobody is lost. %(reason)s"
            )
    return text % known


_WHO: dict[str, Words] = {
    "birthday": _("Guests whose birthday we know."),
    "post_visit": _("Guests who have just eaten here."),
    "reservation_confirmation": _("Guests whose booking is confirmed."),
    "reservation_reminder": _("Guests who are expected soon."),
    "reservation_change": _("Guests whose booking has changed."),
    "reservation_cancellation": _("Guests whose booking is cancelled."),
}
_WHEN: dict[str, Words] = {
    "inactive": _("They have stayed away; once for each time they do."),
    "reservation_confirmation": _("As soon as the booking is confirmed, once for each booking."),
    "reservation_change": _("As soon as its time, venue or party size changes, once for each change."),
    "reservation_cancellation": _("As soon as it is cancelled, once for each booking."),
}


def who_gets_it(kind: str, parameters: Mapping[str, Any], label: str) -> str:
    """The sentence that says whom an automation is for; a an unknown trigger gives its label."""
    match kind:
        case "inactive":
            return _inactive(parameters)
        case "vip_reward":
            tiers = ", ".join(parameters.get("tiers") or ())
            return gettext("Guests of the tier %(tiers)s.") % {"tiers": tiers}
    return str(_WHO.get(kind) or gettext(label))


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
        case "birthday":
            return _before_the_birthday(int(parameters.get("lead_days") or 0))
        case "vip_reward":
            return _once_a(str(parameters.get("period") or ""))
        case "post_visit":
            hours = int(parameters.get("delay_hours") or 0)
            return ngettext(
                "%(count)d hour after each visit.", "%(count)d hours after each visit.", hours
            ) % {"count": hours}
        case "reservation_reminder":
            return _before_the_booking(int(parameters.get("hours_before") or 0))
    return str(_WHEN.get(kind) or gettext("When the occasion comes, once for each."))


def _before_the_booking(hours: int) -> str:
    return ngettext(
        "%(count)d hour before the booking, once for each time it is booked for.",
        "%(count)d hours before the booking, once for each time it is booked for.",
        hours,
    ) % {"count": hours}


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
