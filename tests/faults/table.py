"""The table: each fault, the outcome it must have, and what the run does about it.

Tests run every row against real sockets; `tests/faults/document.py` writes docs/faults.md from it.
"""

import json
from base64 import b64encode
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from tests.faults.server import ACCEPTS, Reply, http, smtp

from regulars.providers.base import Verdict

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


@dataclass(frozen=True)
class Row:
    """`door` is how the server can be reached at all: `plain`, or one of the closed or wrong ones.

    `words` must stand in the outcome's error. `options` are the account's, where they matter.
    """

    fault: str
    verdict: Verdict
    reply: Reply = ACCEPTS
    door: str = "plain"
    retry_after: timedelta | None = None
    bad_address: bool = False
    opt_out: bool = False
    this_address_only: bool = False
    words: str = ""
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Section:
    """Rows that belong together, for one provider kind."""

    kind: str
    title: str
    rows: tuple[Row, ...]


# What the run does, by outcome; the same for every provider.
FOLLOWS = {
    Verdict.ACCEPTED: "sent",
    Verdict.REJECTED: "failed for good; the others go on",
    Verdict.THROTTLED: "stays queued, the account pauses",
    Verdict.UNAVAILABLE: "stays queued and is tried again",
    Verdict.UNKNOWN: "unknown: never sent again by itself",
    Verdict.STOP_TEMPLATE: "stays queued; the automation pauses with the reason",
    Verdict.STOP_ACCOUNT: "stays queued; the account's runs pause with the reason",
}


def follows(row: Row) -> str:
    """What the run does after this fault, in words."""
    words = FOLLOWS[row.verdict]
    if row.this_address_only:
        words = "stays queued, only this guest waits"
    if row.retry_after:
        words += f", not before {_span(row.retry_after)} have passed"
    if row.bad_address:
        words += "; the address is marked bad"
    if row.opt_out:
        words += "; the guest is not written to on this channel again"
    return words


def _span(length: timedelta) -> str:
    for name, unit in (("hours", HOUR), ("minutes", MINUTE), ("seconds", SECOND)):
        if length >= unit and not length % unit:
            return f"{length // unit} {name}"
    return f"{length.total_seconds()} seconds"


def says(status: int, code: Any, message: str = "Sorry", *, refuses: bool = True, **headers: str) -> Reply:
    """Twilio's way to refuse: a code in a JSON object."""
    document = {"code": code, "message": message, "status": status, "more_info": ""}
    return http(status, json.dumps(document).encode(), refuses=refuses, **headers)


TOKEN = "not-a-real-auth-token"
SID = "AC" + "a" * 32
LOGIN = {"username": "pepe", "password": "not-a-real-password"}
QUOTED_TOKEN = b64encode(f"{SID}:{TOKEN}".encode()).decode()
QUOTED_LOGIN = b64encode("\0{username}\0{password}".format(**LOGIN).encode()).decode()

V = Verdict
HEAD = b"HTTP/1.1 201 Created\r\nContent-Length: 100\r\n"
SLOW = http(201, b'{"sid": "SM1"}' + b" " * 200).raw
LATE = "may have been sent"

TWILIO = (
    Section("twilio", "Twilio: the request never left", (
        Row("the connection is refused", V.UNAVAILABLE, door="refused", words="refused"),
        Row("the connection does not come about in time", V.UNAVAILABLE, door="deaf"),
        Row("the host name does not exist", V.UNAVAILABLE, door="nowhere"),
        Row("the certificate is signed by nobody we trust", V.UNAVAILABLE, door="self-signed", words="certificate"),
        Row("the certificate has expired", V.UNAVAILABLE, door="expired", words="certificate"),
        Row("the certificate is another host's", V.UNAVAILABLE, door="other name", words="certificate"),
        Row("plain text where TLS should be", V.UNAVAILABLE, Reply("unread", b"220 ready\r\n"), door="not tls"),
        Row("TLS that never completes", V.UNAVAILABLE, Reply("unread", ending="hang"), door="not tls"),
    )),
    Section("twilio", "Twilio: the request left, no whole answer came", (
        Row("reset before the request is read", V.UNKNOWN, Reply("unread", ending="reset"), words=LATE),
        Row("closed before the request is read", V.UNKNOWN, Reply("unread", ending="close"), words=LATE),
        Row("reset after the request", V.UNKNOWN, Reply("read", ending="reset"), words=LATE),
        Row("closed after the request", V.UNKNOWN, Reply("read", ending="close"), words=LATE),
        Row("no answer in time", V.UNKNOWN, Reply("read", ending="hang"), words=LATE),
        Row("a body that drips past the time", V.UNKNOWN, Reply("read", SLOW, pace=0.02), words=LATE),
        Row("half a status line", V.UNKNOWN, Reply("read", HEAD[:12], ending="close"), words=LATE),
        Row("headers that break off", V.UNKNOWN, Reply("read", HEAD, ending="close"), words=LATE),
        Row("a body that breaks off", V.UNKNOWN, Reply("read", HEAD + b'\r\n{"sid"', ending="close"), words=LATE),
        Row("bytes that are not HTTP", V.UNKNOWN, Reply("read", b"\x00\xff\x01 nonsense\r\n\r\n", ending="close")),
        Row("TLS bytes where HTTP should be", V.UNKNOWN, Reply("read", b"\x15\x03\x01\x00\x02\x02\x46", ending="close")),
        Row("a body larger than a mebibyte", V.UNKNOWN, http(201, b"x" * 1_100_000), words="1 MiB"),
        Row("a body that claims to be compressed and is not", V.UNKNOWN,
            http(201, b"nonsense", Content_Encoding="gzip"), words=LATE),
        Row("broken chunks", V.UNKNOWN,
            Reply("read", b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", ending="close"), words=LATE),
    )),
    Section("twilio", "Twilio: a whole answer that does not say", (
        Row("success with an empty body", V.UNKNOWN, http(201), words="does not say"),
        Row("success with HTML", V.UNKNOWN, http(200, b"<html>Welcome</html>"), words="does not say"),
        Row("success without an id", V.UNKNOWN, http(201, b'{"sid": null}'), words="does not say"),
        Row("success with an id that is no id", V.UNKNOWN, http(201, b'{"sid": "SM\\u0000\\ud800"}'), words="does not say"),
        Row("JSON nested a hundred thousand deep", V.UNKNOWN, http(201, b"[" * 100_000), words="does not say"),
        Row("500 with Twilio's code", V.UNKNOWN, says(500, 20500, refuses=False), words="does not say"),
        Row("502 from something in between", V.UNKNOWN, http(502, b"<html>Bad gateway</html>"), words="does not say"),
        Row("503 with Retry-After and no known code", V.UNKNOWN, http(503, Retry_After="5"), words="does not say"),
        Row("408", V.UNKNOWN, http(408), words="does not say"),
        Row("redirect (302), not followed", V.UNKNOWN, http(302, Location="/elsewhere"), words="does not say"),
    )),
    Section("twilio", "Twilio: slow down", (
        Row("429", V.THROTTLED, says(429, 20429), words="Too many requests"),
        Row("429 with Retry-After in seconds", V.THROTTLED, says(429, 20429, Retry_After="7"), retry_after=7 * SECOND),
        Row("429 with Retry-After as a date", V.THROTTLED,
            says(429, 20429, Retry_After="RETRY-DATE", Date="NOW-DATE").after(90), retry_after=90 * SECOND),
        Row("429 with a Retry-After of a week: no wish is longer than an hour", V.THROTTLED,
            says(429, 20429, Retry_After="604800"), retry_after=HOUR),
        Row("429 with a Retry-After that is no time", V.THROTTLED, says(429, 20429, Retry_After="soon")),
        Row("429 without a body", V.THROTTLED, http(429, refuses=True)),
        Row("503 with the code of 429", V.THROTTLED, says(503, 20429)),
        Row("the sender's queue is full (21611)", V.THROTTLED, says(429, 21611)),
        Row("Meta holds back marketing to this person (63049)", V.THROTTLED, says(400, 63049),
            retry_after=24 * HOUR, this_address_only=True),
    )),
    Section("twilio", "Twilio: this guest or this message", (
        Row("no such number (21211)", V.REJECTED, says(400, 21211), bad_address=True, words="Invalid phone number"),
        Row("no route from this sender (21612)", V.REJECTED, says(400, 21612)),
        Row("the country is not enabled (21408)", V.REJECTED, says(400, 21408), words="enable"),
        Row("the guest has said STOP (21610)", V.REJECTED, says(400, 21610), opt_out=True),
        Row("400 with a code that no table knows", V.REJECTED, says(400, 99999, "New rule"), words="New rule"),
        Row("400 without a body", V.REJECTED, http(400, refuses=True)),
        Row("a refusal that quotes our credentials: they are blanked", V.REJECTED,
            says(400, 99999, f"Authorization: Basic {QUOTED_TOKEN}"), words="Basic •••"),
    )),
    Section("twilio", "Twilio: the template or the account", (
        Row("the text is too long (21617)", V.STOP_TEMPLATE, says(400, 21617), words="shorten"),
        Row("filtered as unwanted (30007)", V.STOP_TEMPLATE, says(400, 30007), words="change"),
        Row("wrong credentials (401, 20003)", V.STOP_ACCOUNT, says(401, 20003), words="account_sid and auth_token: check"),
        Row("401 without a body", V.STOP_ACCOUNT, http(401, refuses=True), words="account_sid"),
        Row("account not active: suspended or out of credit (20005)", V.STOP_ACCOUNT, says(403, 20005), words="credit"),
        Row("account suspended (30002)", V.STOP_ACCOUNT, says(400, 30002), words="credit"),
        Row("the sender is not the account's (21659)", V.STOP_ACCOUNT, says(400, 21659), words="check 'from'"),
        Row("403 from something that is not Twilio", V.STOP_ACCOUNT, http(403, b"<html>", refuses=True), words="base_url"),
        Row("404 from something that is not Twilio", V.STOP_ACCOUNT, http(404, b"<html>", refuses=True), words="base_url"),
        Row("redirect (307), not followed", V.STOP_ACCOUNT, http(307, refuses=True, Location="/x"), words="base_url"),
    )),
)  # fmt: skip

ASKS = ("AUTH PLAIN",)
UNUSED = "cannot be used"


def _lost(stage: str, name: str) -> tuple[Row, ...]:
    """The ways in which a connection ends at a stage before the letter is written."""
    login = {"options": LOGIN} if stage == "AUTH" else {}
    asks = ASKS if stage == "AUTH" else ()
    endings = {"reset": "reset", "closed": "close", "silence": "hang"}
    lost = tuple(
        Row(
            f"{words} at {name}",
            V.UNAVAILABLE,
            Reply(stage, ending=ending, extensions=asks),
            words=UNUSED,
            **login,
        )
        for words, ending in endings.items()
    )
    garbage = Row(
        f"nonsense at {name}",
        V.UNAVAILABLE,
        Reply(stage, b"\xff\x00 what?\r\n", extensions=asks),
        words=UNUSED,
        **login,
    )
    return (*lost, garbage)


STAGES = {
    "greeting": "the greeting",
    "EHLO": "EHLO",
    "AUTH": "the login",
    "MAIL": "MAIL",
    "RCPT": "RCPT",
    "DATA": "DATA",
}

SMTP = (
    Section("smtp", "SMTP: no connection, or none that is safe", (
        Row("the connection is refused", V.UNAVAILABLE, door="refused", words=UNUSED),
        Row("the connection does not come about in time", V.UNAVAILABLE, door="deaf", words=UNUSED),
        Row("the host name does not exist", V.UNAVAILABLE, door="nowhere", words=UNUSED),
        Row("TLS: the certificate is signed by nobody we trust", V.UNAVAILABLE, door="self-signed",
            options={"security": "tls"}, words="certificate"),
        Row("TLS: the certificate has expired", V.UNAVAILABLE, door="expired", options={"security": "tls"}, words="certificate"),
        Row("TLS: the certificate is another host's", V.UNAVAILABLE, door="other name", options={"security": "tls"}, words="certificate"),
        Row("TLS: plain text where TLS should be", V.UNAVAILABLE, options={"security": "tls"}, words=UNUSED),
        Row("STARTTLS: the certificate is signed by nobody we trust", V.UNAVAILABLE, door="starttls self-signed",
            options={"security": "starttls"}, words="certificate"),
        Row("STARTTLS: plain text instead of the handshake", V.UNAVAILABLE, Reply("STARTTLS", b"220 Go on\r\n220 not TLS at all\r\n"),
            door="starttls", options={"security": "starttls"}, words=UNUSED),
        Row("STARTTLS: reset", V.UNAVAILABLE, Reply("STARTTLS", ending="reset"), door="starttls",
            options={"security": "starttls"}, words=UNUSED),
        Row("STARTTLS: silence", V.UNAVAILABLE, Reply("STARTTLS", ending="hang"), door="starttls",
            options={"security": "starttls"}, words=UNUSED),
        Row("STARTTLS: not now (454)", V.THROTTLED, smtp("STARTTLS", "454 4.3.0 TLS not available"), door="starttls",
            options={"security": "starttls"}, retry_after=MINUTE),
        Row("STARTTLS: not offered", V.STOP_ACCOUNT, options={"security": "starttls"}, words="check"),
    )),
    Section("smtp", "SMTP: the connection ends before the letter is written", (
        *(row for stage, name in STAGES.items() for row in _lost(stage, name)),
        Row("the login's question is nonsense", V.UNAVAILABLE, Reply("AUTH", b"334 \xff$$$\r\n", extensions=("AUTH CRAM-MD5",)),
            options=LOGIN, words=UNUSED),
    )),
    Section("smtp", "SMTP: no reply to the final dot", (
        Row("reset after the final dot", V.UNKNOWN, Reply("dot", ending="reset"), words=LATE),
        Row("closed after the final dot", V.UNKNOWN, Reply("dot", ending="close"), words=LATE),
        Row("silence after the final dot", V.UNKNOWN, Reply("dot", ending="hang"), words=LATE),
        Row("a reply that drips past the time", V.UNKNOWN, Reply("dot", b"250 2.0.0 Taken" + b"." * 200 + b"\r\n", pace=0.02), words=LATE),
        Row("nonsense after the final dot", V.UNKNOWN, Reply("dot", b"\xff\x00 what?\r\n"), words=LATE),
        Row("half a reply after the final dot", V.UNKNOWN, Reply("dot", b"25", ending="close"), words=LATE),
        Row("an empty line after the final dot", V.UNKNOWN, Reply("dot", b"\r\n"), words=LATE),
        Row("a reply without end", V.UNKNOWN, Reply("dot", b"250-more\r\n" * 10_000), words=LATE),
        Row("354 once more", V.UNKNOWN, smtp("dot", "354 Go on"), words=LATE),
    )),
    Section("smtp", "SMTP: slow down", (
        Row("421 at the greeting", V.THROTTLED, smtp("greeting", "421 4.3.2 Too busy", ending="close"), retry_after=MINUTE),
        Row("4xx at EHLO", V.THROTTLED, smtp("EHLO", "421 4.3.2 Later", ending="close"), retry_after=MINUTE),
        Row("4xx at the login", V.THROTTLED, smtp("AUTH", "454 4.7.0 Later", extensions=ASKS), retry_after=MINUTE, options=LOGIN),
        Row("4xx at MAIL", V.THROTTLED, smtp("MAIL", "451 4.3.0 Later"), retry_after=MINUTE),
        Row("421 at RCPT", V.THROTTLED, smtp("RCPT", "421 4.7.0 Too many", ending="close"), retry_after=MINUTE),
        Row("4.7.x after the final dot", V.THROTTLED, smtp("dot", "451 4.7.1 Slower please"), retry_after=MINUTE),
        Row("greylisting: 4xx at RCPT", V.THROTTLED, smtp("RCPT", "450 Greylisted"), retry_after=5 * MINUTE, this_address_only=True),
        Row("4xx at DATA", V.THROTTLED, smtp("DATA", "451 Later"), retry_after=5 * MINUTE, this_address_only=True),
        Row("4xx after the final dot", V.THROTTLED, smtp("dot", "451 4.3.0 Later"), retry_after=5 * MINUTE, this_address_only=True),
        Row("mailbox full (4.2.2, 5.2.2)", V.THROTTLED, smtp("RCPT", "552 5.2.2 Full"), retry_after=HOUR, this_address_only=True),
        Row("the day's quota is used up (Gmail: 550 5.4.5)", V.THROTTLED, smtp("dot", "550 5.4.5 Daily user sending limit exceeded"),
            retry_after=HOUR, words="quota"),
        Row("the day's quota is used up (Exchange: 550 5.1.90)", V.THROTTLED, smtp("dot", "550 5.1.90 You have reached your daily limit"),
            retry_after=HOUR, words="quota"),
        Row("the quota is used up, told at MAIL (550 5.4.5)", V.THROTTLED, smtp("MAIL", "550 5.4.5 Daily SMTP relay limit exceeded"),
            retry_after=HOUR, words="quota"),
    )),
    Section("smtp", "SMTP: this guest or this message", (
        Row("no such mailbox (550 5.1.1 at RCPT)", V.REJECTED, smtp("RCPT", "550 5.1.1 Unknown"), bad_address=True, words="Invalid address"),
        Row("5xx without an enhanced code at RCPT", V.REJECTED, smtp("RCPT", "550 No")),
        Row("refused by policy (5.7.1 at RCPT)", V.REJECTED, smtp("RCPT", "550 5.7.1 Policy"), words="policy"),
        Row("5xx at DATA", V.REJECTED, smtp("DATA", "554 No valid recipients")),
        Row("content refused after the final dot (554 5.6.0)", V.REJECTED, smtp("dot", "554 5.6.0 Bad content")),
        Row("refused by policy after the final dot (5.7.26)", V.REJECTED, smtp("dot", "550 5.7.26 Not authenticated"), words="policy"),
    )),
    Section("smtp", "SMTP: the template or the account", (
        Row("5xx at the greeting", V.STOP_ACCOUNT, smtp("greeting", "554 No service for you", ending="close"), words="ask"),
        Row("5xx at STARTTLS", V.STOP_ACCOUNT, smtp("STARTTLS", "554 No TLS"), door="starttls",
            options={"security": "starttls"}, words="ask"),
        Row("the login is refused (535)", V.STOP_ACCOUNT, smtp("AUTH", "535 5.7.8 Bad credentials", extensions=ASKS),
            options=LOGIN, words="check username and password"),
        Row("a refusal that quotes our password: it is blanked", V.STOP_ACCOUNT,
            smtp("AUTH", f"535 5.7.8 Cannot read {QUOTED_LOGIN}", extensions=ASKS), options=LOGIN, words="Cannot read •••"),
        Row("no login is offered", V.STOP_ACCOUNT, options=LOGIN, words="check"),
        Row("a login is wanted (530 at MAIL)", V.STOP_ACCOUNT, smtp("MAIL", "530 5.7.0 Log in first"), words="check username and password"),
        Row("the sender is refused (5xx at MAIL)", V.STOP_ACCOUNT, smtp("MAIL", "550 5.7.1 Not your address"), words="check from_address"),
        Row("the sender is refused at RCPT (5.1.8)", V.STOP_ACCOUNT, smtp("RCPT", "553 5.1.8 Bad sender"), words="check from_address"),
        Row("the account may not send as this sender (5.7.60)", V.STOP_ACCOUNT, smtp("dot", "550 5.7.60 May not send as this sender"),
            words="check from_address"),
        Row("the account is blocked (5.7.705)", V.STOP_ACCOUNT, smtp("dot", "550 5.7.705 Tenant has exceeded threshold"), words="blocked"),
        Row("the letter is too large (5.3.4)", V.STOP_TEMPLATE, smtp("dot", "552 5.3.4 Too big"), words="shorten"),
    )),
)  # fmt: skip

SECTIONS = (*TWILIO, *SMTP)
