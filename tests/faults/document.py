"""Writes docs/faults.md from the table: `PYTHONPATH=src .venv/bin/python -m tests.faults.document`."""

import os
from pathlib import Path

from tests.faults.table import SECTIONS, Row, Section, follows

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"

HEAD = """\
# When a provider fails

What can go wrong between a run and a provider, what we make of it, and what the run does. Every row is
met by the tests over real sockets, against a server that fails on purpose
(`./regulars test tests/faults`); this page is written from the same table
(`PYTHONPATH=src .venv/bin/python -m tests.faults.document`), and a test compares the two.

## The rule behind the table

One question decides: **can the provider have the message?**

- It certainly has not (no connection, no TLS, a refusal in words): the message stays queued and is sent
  again by itself, or fails for good if the refusal is about the guest.
- It may have it (the bytes were written and no clear answer came): *unknown*. Nothing is sent a second
  time by itself. You decide on the run's page, or the provider tells us later. An automation that its
  owner set to at-least-once is the exception, and says so wherever it is shown.
- The account or the template is broken: nobody fails for it. What is left stays queued, the run or the
  automation pauses once, and the reason says what to do.

What no table knows is judged by the same question, and a doubt counts as "may have it".

## What the run does

| outcome | the message | the run |
| --- | --- | --- |
| accepted | sent | goes on |
| rejected | failed for good, not again for this occasion | goes on; {refusals} refusals in a row with the same answer (bad addresses and STOPs do not count) are no longer about guests: the runs on the account pause |
| throttled | queued; while everybody is slowed down no message uses up its tries | the account pauses: for the time the provider names, and longer each time it happens again |
| throttled, this guest only | queued until that time; after {tries} tries failed (temporary) | goes on |
| unavailable | queued, tried again after growing pauses; after {tries} tries failed (temporary), unless nobody gets through | {failures} calls in a row without an answer pause the account, from seconds to five minutes; then one message tries whether it is back |
| unknown | unknown, yours to settle; where the owner chose at-least-once: sent again after growing pauses, {tries} tries in all, and may arrive more than once | goes on, and counts as a call without an answer |
| stop_template | queued | the automation pauses with the reason; correct the template, then resume |
| stop_account | queued | all runs on the account pause, once, with the reason; correct the account, then resume |

So a provider that is away for an hour costs 5,000 guests nothing: a few dozen calls find out, the rest
waits, and each message is sent once when the provider is back. One that takes requests and falls silent
leaves at most one window (64 messages) a worker in doubt, then one message a try.

A message that waits is never sent after its occasion has passed: it is withheld as expired.

## What is wrong, and what to do

The reason on the run's page begins with one of these.

| the reason says | what to do |
| --- | --- |
"""

ADVICE = {
    "Twilio does not accept account_sid and auth_token": "copy both again from Twilio's console",
    "The Twilio account is not active": "look at the balance and the notices in Twilio's console",
    "The Twilio account is suspended": "the same",
    "The sender does not belong to the account": "check `from`",
    "The sender may not send SMS": "check `from`",
    "The Twilio account may not send to this country": "enable the country under geographic permissions in Twilio's console",
    "No Twilio API at this address": "check `base_url`",
    "The mail server refuses the login": "check `username` and `password`; some services want a password made for programs",
    "The mail server refuses the sender": "`from_address` must belong to the account",
    "The mail server does not offer what the account asks for": "check `security`, `port` and `username`",
    "The mail server refuses the connection": "ask the mail service",
    "The mail service has blocked the account": "ask the mail service",
    "The mail account's quota is used up": "nothing: the rest goes out when the quota allows; set a limit per day, or use a service for many letters",
    "certificate": "`host` or `base_url` is not the name the certificate was made for, or its root is not known here (`SSL_CERT_FILE`)",
}

FOOT = """\
## How to read the server's side

The server counts what it *received* to the last byte and what it *took* (received and not refused in
words). The tests hold each row to the truth: what was taken is accepted or unknown, never queued again;
what was not taken is never called accepted; a call is never repeated inside an adapter; no secret and no
address reaches a log; and after each fault the next message goes through.

An HTTP server that ends a kept connection without a word (`Connection: close`) may do so while the next
request is on its way: that message is unknown, though it probably was not taken. Nobody can tell from
here. Mail servers may hang up between letters as they like: a letter that was not begun is no doubt.
"""


def text() -> str:
    """The whole page."""
    from regulars.runs.breaking import FAILURES_IN_A_ROW, REFUSALS_IN_A_ROW
    from regulars.runs.states import MOST_ATTEMPTS

    head = HEAD.format(failures=FAILURES_IN_A_ROW, refusals=REFUSALS_IN_A_ROW, tries=MOST_ATTEMPTS)
    advice = "".join(f"| {reason} | {what} |\n" for reason, what in ADVICE.items())
    return "\n".join([head + advice, *map(_section, SECTIONS), FOOT])


def _section(section: Section) -> str:
    lines = [f"## {section.title}", "", "| fault | outcome | the run |", "| --- | --- | --- |"]
    return "\n".join([*lines, *map(_line, section.rows), ""])


def _line(row: Row) -> str:
    return f"| {row.fault} | {row.verdict} | {follows(row)} |"


if __name__ == "__main__":
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "regulars.settings")
    django.setup()
    PAGE.write_text(text(), encoding="utf-8")
