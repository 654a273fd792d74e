"""The evidence for each reason: which record it rests on, and when it stops holding.

Beside the rules (`runs.eligibility`), reason by reason. It repeats no decision: a reason comes in as
the query gave it, with the query's own parameters, and the rows that made it hold are shown. A reason
without an entry here is told without evidence.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q, QuerySet

from regulars.automations import triggers
from regulars.automations.evidence import Contact, Evidence, Outlook, Term, Value
from regulars.automations.models import Automation
from regulars.customers.models import Address, Channel, Consent, Customer, Suppression
from regulars.runs.models import Message, MessageState, Occasion

CHANNELS = {"whatsapp": Term("WhatsApp"), "sms": Term("SMS"), "email": Term("E-mail")}
# Not sent yet, so that nobody knows when its cooldown begins.
PLANNED = (MessageState.QUEUED, MessageState.SENDING)
MOST_MESSAGES = 5


@dataclass(frozen=True, slots=True)
class Case:
    """One verdict, and what it was asked with: `asked` holds the parameters of the choice.

    `others` are the verdicts of those who share an address with this customer.
    """

    customer: Customer
    automation: Automation
    verdict: Mapping[str, Any]
    others: Sequence[Mapping[str, Any]]
    asked: Mapping[str, Any]
    now: datetime


def evidence_of(case: Case) -> Outlook:
    """The records behind the verdict; `next_at` is when the reason may stop holding by itself."""
    reason = case.verdict["reason"]
    tell = _going if reason is None else _TELL.get(reason, _silent)
    return tell(case)


def _silent(_: Case) -> Outlook:
    return Outlook()


def _do_not_contact(case: Case) -> Outlook:
    why = case.customer.do_not_contact_reason
    if not why:
        return Outlook()
    return Outlook((Evidence("do_not_contact", "The note says: %(note)s.", {"note": why}),))


def _underage(case: Case) -> Outlook:
    guest = case.customer
    if guest.birth_year is None:
        return Outlook((Evidence("age", "The year of birth is not known."),))
    return Outlook((Evidence("age", "Was born in %(year)s.", {"year": str(guest.birth_year)}),))


def _already_contacted(case: Case) -> Outlook:
    guard = Occasion.objects.filter(
        automation_id=case.automation.pk,
        customer_id=case.customer.pk,
        occasion=case.verdict["occasion"],
    ).first()
    if guard is None:
        return Outlook()
    message = Message.objects.filter(pk=guard.message_id).select_related("automation").first()
    if message is None:
        return Outlook((Evidence("message", "The message itself has been removed for its age."),))
    return Outlook((about(message),))


def about(message: Message) -> Evidence:
    """When a message left or is to leave, and what became of it."""
    known = {
        "automation": message.automation.name,
        "channel": CHANNELS.get(message.channel, Term(message.channel)),
        "state": Term(message.state),
    }
    if message.state in PLANNED:
        at = message.send_after
        words = "“%(automation)s” has a message planned for %(moment)s, by %(channel)s (%(state)s)."
    else:
        at = message.accepted_at or message.state_at
        words = "“%(automation)s” wrote on %(moment)s, by %(channel)s (%(state)s)."
    return Evidence("message", words, {**known, "moment": at}, at, message.pk)


def _no_address(case: Case) -> Outlook:
    held = Address.objects.filter(customer=case.customer).order_by("channel", "position", "pk")
    found = [
        Evidence(
            "address",
            "%(address)s is a landline."
            if address.bad_reason == "landline"
            else "%(address)s is for %(channel)s, which this automation does not use.",
            {"address": Contact(address.address), "channel": CHANNELS[address.channel]},
            address.bad_since,
            address.pk,
        )
        for address in held
    ]
    return Outlook(tuple(found) or (Evidence("address", "There is no address on record."),))


def _ways(case: Case) -> "QuerySet[Address]":
    """The addresses that the choice looked at."""
    return (
        Address.objects.filter(customer=case.customer, channel__in=case.asked["channels"])
        .exclude(bad_reason="landline")
        .order_by("position", "pk")
    )


def _consents(case: Case) -> dict[str, Consent]:
    rows = Consent.objects.filter(customer=case.customer, purpose="marketing", is_current=True)
    return {row.channel: row for row in rows}


def _no_consent(case: Case) -> Outlook:
    held = set(_ways(case).values_list("channel", flat=True))
    known = _consents(case)
    wanted = [channel for channel in case.asked["channels"] if channel in held]
    return Outlook(tuple(_consent(channel, known.get(channel)) for channel in wanted))


def _consent(channel: str, row: Consent | None) -> Evidence:
    name = CHANNELS[channel]
    if row is None:
        return Evidence("consent", "There is no consent on record for %(channel)s.", {"channel": name})
    words = (
        "Agreed to marketing by %(channel)s on %(moment)s (%(source)s)."
        if row.granted
        else "Withdrew consent for %(channel)s on %(moment)s (%(source)s)."
    )
    source = row.source or Term("source unknown")
    return Evidence("consent", words, {"channel": name, "moment": row.at, "source": source}, row.at, row.pk)


def _suppressed(case: Case) -> Outlook:
    granted = {channel for channel, row in _consents(case).items() if row.granted}
    ways = _ways(case).filter(channel__in=granted) if case.asked["marketing"] else _ways(case)
    found = [fact for way in ways for fact in (*_stops(case, way), *_unconfirmed(case, way))]
    return Outlook(tuple(found))


def _unconfirmed(case: Case, way: Address) -> list[Evidence]:
    """A telephone number that the guest has not confirmed for too long (E26)."""
    since, agreed = case.asked.get("confirmed_since"), _consents(case).get(way.channel)
    if since is None or agreed is None or way.channel == Channel.EMAIL:
        return []
    last = max(agreed.at, way.last_inbound_at or agreed.at)
    known: dict[str, Value] = {"address": Contact(way.address), "moment": last}
    words = "%(address)s was last confirmed on %(moment)s; somebody else may have it now."
    return [Evidence("unconfirmed", words, known, last, way.pk)] if last < since else []


def _stops(case: Case, way: Address) -> list[Evidence]:
    stops = Suppression.objects.filter(
        organization_id=way.organization_id, fingerprint=way.fingerprint, channel__in=["", way.channel]
    )
    if not case.asked["marketing"]:
        stops = stops.exclude(reason="opt_out")
    found = [
        Evidence(
            "suppression",
            "%(address)s is suppressed since %(moment)s: %(why)s.",
            {"address": Contact(way.address), "why": _spoken(stop.reason), "moment": stop.created_at},
            stop.created_at,
            stop.pk,
        )
        for stop in stops.order_by("pk")
    ]
    return [*found, _bad(way)] if way.bad_reason else found


def _bad(way: Address) -> Evidence:
    known: dict[str, Value] = {"address": Contact(way.address), "why": _spoken(way.bad_reason)}
    if way.bad_since is None:
        return Evidence("bad_address", "%(address)s is marked bad: %(why)s.", known, None, way.pk)
    words = "%(address)s is marked bad since %(moment)s: %(why)s."
    return Evidence("bad_address", words, known | {"moment": way.bad_since}, way.bad_since, way.pk)


def _no_template(case: Case) -> Outlook:
    """When the guest last wrote: only a further message of theirs opens the window."""
    ways = _ways(case).filter(channel=Channel.WHATSAPP)
    return Outlook(tuple(_last_word(way) for way in ways))


def _last_word(way: Address) -> Evidence:
    known: dict[str, Value] = {"address": Contact(way.address)}
    if way.last_inbound_at is None:
        words = "Has not written from %(address)s, as far as is known."
        return Evidence("inbound", words, known, None, way.pk)
    words = "Last wrote on %(moment)s, from %(address)s."
    return Evidence("inbound", words, known | {"moment": way.last_inbound_at}, way.last_inbound_at, way.pk)


def _spoken(code: str) -> Term:
    return Term(code.replace("_", " "))


def _upcoming(case: Case) -> Outlook:
    told = triggers.promises(case.automation.organization, case.now, case.customer.pk)
    ends = [outlook.next_at for outlook in told if outlook.next_at is not None]
    return Outlook(tuple(fact for outlook in told for fact in outlook.evidence), max(ends, default=None))


def _expired(case: Case) -> Outlook:
    due, over = case.verdict["due_at"], case.verdict["expires_at"]
    words = "It was due from %(due)s and too late from %(moment)s."
    return Outlook((Evidence("too_late", words, {"due": due, "moment": over}, over),))


def _cooldown(case: Case) -> Outlook:
    """The messages within it; it ends with the last of them, unless one has yet to leave."""
    messages = list(_recent(case).order_by("-pk"))
    if not messages:
        other = Evidence("occasion", "Another occasion of the same guest goes first.")
        return Outlook(tuple(_winner(case)) or (other,))
    days = case.now - case.asked["cooldown_since"]
    ends = [
        (message.accepted_at or message.state_at) + days
        for message in messages
        if message.accepted_at or message.state not in PLANNED
    ]
    found = [about(message) for message in messages[:MOST_MESSAGES]]
    if len(ends) < len(messages):
        return Outlook(tuple(found))
    end = max(ends)
    words = "The cooldown of %(days)s days ends on %(moment)s."
    ending = Evidence("cooldown", words, {"days": days.days, "moment": end}, end)
    return Outlook((*found, ending), end)


def _recent(case: Case) -> "QuerySet[Message]":
    """The messages that the rule `cooldown` finds."""
    asked = case.asked
    since = asked["cooldown_since"]
    return Message.objects.filter(
        Q(customer_id=case.customer.pk) | Q(address=case.verdict["address"]),
        Q(accepted_at__gt=since) | Q(state__in=PLANNED) | Q(state=MessageState.UNKNOWN, state_at__gt=since),
        organization_id=asked["organization"],
        pk__gte=asked["cooldown_floor"],
        automation_id__in=asked["family"],
    ).select_related("automation")


def _winner(case: Case) -> list[Evidence]:
    """The automation that goes first, where the verdict names one."""
    winner = case.verdict.get("winner_id")
    found = Automation.objects.filter(pk=winner).first() if winner else None
    if found is None:
        return []
    return [Evidence("automation", "“%(automation)s” goes first.", {"automation": found.name})]


def _frequency_cap(case: Case) -> Outlook:
    """What the guest has had or will have lately, whichever automation wrote it."""
    since = case.asked["cap_since"]
    heard = Message.objects.filter(
        Q(customer_id=case.customer.pk) | Q(address=case.verdict["address"]),
        Q(accepted_at__gt=since) | Q(state__in=PLANNED) | Q(state=MessageState.UNKNOWN, state_at__gt=since),
        organization_id=case.automation.organization_id,
        purpose="marketing",
    )
    messages = list(heard.select_related("automation").order_by("-pk"))
    newest = messages[:MOST_MESSAGES]
    wrote = {message.automation_id for message in newest}
    goes_first = [] if case.verdict["winner_id"] in wrote else _winner(case)
    return Outlook((*(about(message) for message in newest), *goes_first), _one_less(case, messages))


def _one_less(case: Case, messages: Sequence[Message]) -> datetime | None:
    """When the next of the messages is too long ago for one of the caps: before, nothing is left of them."""
    spans = [case.now - since for name, since in case.asked.items() if name.startswith("cap_since")]
    moments = [
        (message.accepted_at or message.state_at) + span
        for message in messages
        if message.state not in PLANNED
        for span in spans
    ]
    return min((moment for moment in moments if moment > case.now), default=None)


def _before_start(case: Case) -> Outlook:
    due, start = case.verdict["due_at"], case.asked["due_from"]
    words = "It was due from %(due)s; what counts is what becomes due from %(moment)s on."
    return Outlook((Evidence("start", words, {"due": due, "moment": start}, start),))


def _budget(case: Case) -> Outlook:
    """The money that is gone comes back with the next month."""
    over = (case.asked["budget_month"] + timedelta(days=32)).replace(day=1)
    words = "The money for %(channel)s is used up until %(moment)s."
    known = {"channel": CHANNELS[case.verdict["channel"]], "moment": over}
    return Outlook((Evidence("budget", words, known, over),), over)


def _holdout(_: Case) -> Outlook:
    return Outlook((Evidence("holdout", "Was held out at random for this occasion."),))


def _duplicate_address(case: Case) -> Outlook:
    address = case.verdict["address"]
    winner = next((row for row in case.others if row["reason"] is None and row["address"] == address), None)
    if winner is None:
        return Outlook()
    guest = Customer.objects.filter(pk=winner["customer_id"]).first()
    words = "%(address)s is also the address of %(guest)s, who gets the message."
    known = {"address": Contact(address), "guest": str(guest)}
    return Outlook((Evidence("customer", words, known, None, winner["customer_id"]),))


def _going(case: Case) -> Outlook:
    """What allows it: where it goes, and the consent for that."""
    verdict = case.verdict
    known = {"address": Contact(verdict["address"]), "channel": CHANNELS[verdict["channel"]]}
    way = Evidence("address", "It goes to %(address)s, by %(channel)s.", known)
    if not case.asked["marketing"]:
        return Outlook((way,))
    return Outlook((way, _consent(verdict["channel"], _consents(case).get(verdict["channel"]))))


_TELL: dict[str, Callable[[Case], Outlook]] = {
    "do_not_contact": _do_not_contact,
    "underage": _underage,
    "already_contacted": _already_contacted,
    "holdout": _holdout,
    "before_start": _before_start,
    "no_address": _no_address,
    "no_consent": _no_consent,
    "no_template": _no_template,
    "suppressed": _suppressed,
    "upcoming_reservation": _upcoming,
    "expired": _expired,
    "cooldown": _cooldown,
    "frequency_cap": _frequency_cap,
    "duplicate_address": _duplicate_address,
    "budget": _budget,
}
# What time alone does not mend, however often the occasion comes.
FIRM = frozenset({"do_not_contact", "no_address", "no_consent", "no_template", "suppressed"})
