"""Who is left out, and why: one closed list of reasons, in the order in which they are checked.

Pure: names, words and conditions; no input or output. A condition is SQL over the columns named in
its docstring, so that judging a hundred thousand customers is one statement; the reference judge in
the tests says the same in plain Python, and a property test holds the two together.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """One objection: its reason code, its words for people, and the condition under which it holds."""

    reason: str
    words: str
    condition: str = ""


# One look by customer and one by address, for each can be answered by its own index or from one pass
# over the months in question; what is older than the floor is in partitions that are not opened.
_RECENTLY = """EXISTS (
            SELECT 1 FROM messages recent
             WHERE {same} AND recent.organization_id = %(organization)s
               AND recent.id >= %(cooldown_floor)s
               AND recent.automation_id = ANY(%(family)s::uuid[])
               AND (recent.accepted_at > %(cooldown_since)s
                    OR recent.state IN ('queued', 'sending')
                    OR (recent.state = 'unknown' AND recent.state_at > %(cooldown_since)s)))"""

# The number yyyymmdd of the birth; an unknown year is nobody's minor (0: NULL would have the guardian looked
# up for all of them), but old enough for nothing that asks for an age. A guardian's consent counts on its own
# channel.
_UNDERAGE = """(coalesce(candidate.born, 0) > %(minor_after)s AND NOT EXISTS (
            SELECT 1 FROM consents guardian
             WHERE guardian.customer_id = candidate.customer_id AND guardian.purpose = 'marketing'
               AND guardian.is_current AND guardian.granted AND guardian.basis = 'guardian'
               AND guardian.channel = coalesce(candidate.channel, guardian.channel)))
        OR coalesce(candidate.born, 99999998) > %(too_young_after)s"""

# Stage 1, about one row. Columns of `candidate`: see `runs.choosing`. The first that holds wins.
ROW_RULES = (
    Rule("do_not_contact", "is marked “do not contact”", "candidate.do_not_contact"),
    Rule("underage", "is too young for this, or their age is not known", _UNDERAGE),
    Rule(
        "already_contacted",
        "has already been contacted about this occasion",
        "candidate.guarded",
    ),
    # Drawn at an earlier run: the occasion is taken, so that a changed share changes nothing about it.
    Rule("holdout", "was held out at random, to measure the effect", "candidate.held_out"),
    Rule(
        "before_start",
        "became due before this automation was switched on",
        "candidate.due_at < %(due_from)s",
    ),
    Rule("no_address", "has no address on the channels of this automation", "NOT candidate.has_address"),
    Rule("no_consent", "has not agreed to marketing on a channel we could use", "NOT candidate.has_consent"),
    # WhatsApp, where the automation names no template: only those who have just written.
    Rule(
        "no_template",
        "has not written by WhatsApp in the last 24 hours, and this automation has no approved template",
        "candidate.lacks_template",
    ),
    Rule("suppressed", "has opted out, complained, or has a bad address", "candidate.channel IS NULL"),
    Rule(
        "upcoming_reservation",
        "has already booked a table",
        "%(skip_upcoming)s AND candidate.has_upcoming",
    ),
    Rule("expired", "it is too late for this occasion", "candidate.expires_at <= candidate.send_after"),
    Rule(
        "cooldown",
        "was contacted recently by this automation or one like it",
        f"%(cooldown_counts)s AND ({_RECENTLY.format(same='recent.customer_id = candidate.customer_id')}\n"
        f" OR {_RECENTLY.format(same='recent.address = candidate.address')})",
    ),
    # `room`: what is left of the caps over all automations; NULL where there are none.
    Rule("frequency_cap", "has had as many messages as may be, lately", "candidate.room <= 0"),
)

# Stage 2, among the survivors of stage 1, by window functions over the whole audience. Marketing only:
# two bookings are two confirmations.
AUDIENCE_RULES = (
    Rule("cooldown", "another occasion of the same guest goes first"),
    Rule("duplicate_address", "another guest with the same address gets the message"),
    # What is left of the cap goes to the automations higher in the list.
    Rule("frequency_cap", ""),
    Rule("budget", "the month’s money for this channel is used up"),
)

# Stage 3, last of all, so that both groups are alike: `holdout`. The draw is a hash under a key that only
# the organization has, so that the same guest is drawn at every run, and nobody can choose to be.
# Parameters: the key with the automation's id, the share in percent; columns: customer_id.
DRAW = """(%(holdout_percent)s > 0 AND
        (get_byte(sha256(%(holdout_key)s::bytea || int8send(customer_id)), 0) * 256
         + get_byte(sha256(%(holdout_key)s::bytea || int8send(customer_id)), 1)) * 100
        < %(holdout_percent)s * 65536)"""

# The last look, at the moment of the claim: the world may have changed since planning.
# Columns: message, customer, automation; $1 is the moment.
LAST_LOOK_RULES = (
    Rule(
        "automation_inactive",
        "the automation was switched off before the message left",
        "NOT automation.enabled OR automation.deleted_at IS NOT NULL",
    ),
    Rule("do_not_contact", "", "customer.id IS NULL OR customer.do_not_contact"),
    Rule(
        "no_consent",
        "",
        """message.purpose = 'marketing' AND NOT EXISTS (
            SELECT 1 FROM consents
             WHERE consents.customer_id = message.customer_id AND consents.channel = message.channel
               AND consents.purpose = 'marketing' AND consents.is_current AND consents.granted)""",
    ),
    Rule(
        "suppressed",
        "",
        """EXISTS (
            SELECT 1 FROM addresses
             WHERE addresses.customer_id = message.customer_id
               AND addresses.channel = message.channel AND addresses.address = message.address
               AND (addresses.bad_reason <> '' OR EXISTS (
                    SELECT 1 FROM suppressions
                     WHERE suppressions.organization_id = addresses.organization_id
                       AND suppressions.fingerprint = addresses.fingerprint
                       AND suppressions.channel IN ('', addresses.channel)
                       AND (message.purpose = 'marketing' OR suppressions.reason <> 'opt_out'))))""",
    ),
    # Whatever held it: nobody wants to read what was planned three months ago.
    Rule("expired", "", "message.expires_at <= $1 OR message.created_at < $1 - interval '90 days'"),
    # The trigger's own condition is compiled in after these: `cancelled_before_send`.
)

_WORDS = {
    **{
        rule.reason: rule.words
        for rule in reversed((*ROW_RULES, *AUDIENCE_RULES, *LAST_LOOK_RULES))
        if rule.words
    },
    "cooldown": next(rule.words for rule in ROW_RULES if rule.reason == "cooldown"),
    "cancelled_before_send": "the booking or visit changed before the message left",
    "run_cancelled": "the run was cancelled before the message left",
}

REASONS = tuple(_WORDS)


def words(reason: str) -> str:
    """The reason in words that follow the name of a guest."""
    return _WORDS.get(reason, reason.replace("_", " "))


def case_expression(rules: tuple[Rule, ...], *more: Rule) -> str:
    """`CASE WHEN ... THEN 'reason' ... END`: the first objection wins, NULL where there is none."""
    branches = "\n".join(f"WHEN {rule.condition} THEN '{rule.reason}'" for rule in (*rules, *more))
    return f"CASE {branches} END"
