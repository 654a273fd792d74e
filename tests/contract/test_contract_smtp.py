"""SMTP's adapter: the contract against aiosmtpd, and each step's failure against a scripted server."""

import asyncio
import contextlib
import datetime as dt
import email
import ssl
from email import policy

import pytest
from aiosmtpd import smtp as aiosmtpd

from regulars.lib import clock, write_by
from regulars.providers.base import Verdict
from regulars.providers.smtp import session as sessions
from regulars.providers.smtp.send import Smtp, SmtpConnection

from .servers import MailServer, serve
from .suite import Contract, LetterTests


class Inbox:
    """aiosmtpd's handler: keeps what arrives, refuses whom it is told to."""

    def __init__(self, behaviour):
        self.behaviour = behaviour
        self.envelopes = []

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802
        if self.behaviour == "refuse second" and address.startswith("guest2@"):
            return f"550 5.1.1 <{address}> unknown here"
        envelope.rcpt_tos.append(address)
        return "250 Ok"

    async def handle_DATA(self, server, session, envelope):  # noqa: N802
        self.envelopes.append(envelope)
        replies = {"too many": "451 4.7.1 Slow down", "broken": "300 What"}
        return replies.get(self.behaviour, "250 2.0.0 Taken")


@contextlib.asynccontextmanager
async def aiosmtpd_server(handler, tls=None, **options):
    loop = asyncio.get_running_loop()
    protocols = []

    def protocol():
        protocols.append(aiosmtpd.SMTP(handler, enable_SMTPUTF8=True, loop=loop, **options))
        return protocols[-1]

    server = await loop.create_server(protocol, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for one in protocols:
            if one.transport is not None:
                one.transport.abort()
        await asyncio.sleep(0.01)
        await server.wait_closed()


class TestSmtp(LetterTests, Contract):
    kind = "smtp"
    secret = "not-a-real-password"

    def options(self, port):
        return {
            "host": "127.0.0.1",
            "port": port,
            "security": "none",
            "username": "pepe",
            "password": self.secret,
            "from_address": "pepe@example.com",
            "from_name": "Casa Pepe · Málaga",
        }

    @contextlib.asynccontextmanager
    async def vendor(self, behaviour):
        if behaviour.endswith("after"):
            ending = "hang" if behaviour == "silent after" else "reset"
            script = MailServer(("AUTH PLAIN",), DOT=ending, AUTH="235 2.7.0 Welcome")
            self.inbox = Inbox(behaviour)
            self.inbox.envelopes = script.letters
            async with serve(script) as served:
                yield served.port
            return
        self.inbox = Inbox(behaviour)

        def welcome(server, session, envelope, mechanism, data):
            right = behaviour != "bad key" and data.password == self.secret.encode()
            return aiosmtpd.AuthResult(success=right, handled=False)

        options = {"authenticator": welcome, "auth_require_tls": False}
        async with aiosmtpd_server(self.inbox, **options) as port:
            yield port

    def letters(self):
        return [
            email.message_from_bytes(envelope.content, policy=policy.default)
            for envelope in self.inbox.envelopes
        ]

    def headers(self):
        return [dict(letter.items()) for letter in self.letters()]

    def received(self):
        return len(self.inbox.envelopes)

    def bodies(self):
        found = [letter.get_body(("plain",)).get_content() for letter in self.letters()]
        return [text.replace("\r\n", "\n").removesuffix("\n") for text in found]

    def hurry(self, monkeypatch):
        monkeypatch.setattr(Smtp, "request_timeout", dt.timedelta(seconds=1.5))

    def test_a_letter_has_what_a_mail_reader_needs(self):
        one = self.message(
            7,
            subject="¡Feliz cumpleaños! 🎂",
            html="<p>¡Olé!</p>",
            headers={
                "List-Unsubscribe": "<https://example.com/u/" + "a" * 200 + ">",
                "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
            },
        )
        (outcome,) = self.meet("accept", one)
        (letter,) = self.letters()
        assert letter["Subject"] == "¡Feliz cumpleaños! 🎂"
        assert letter["From"].addresses[0].display_name == "Casa Pepe · Málaga"
        assert letter["From"].addresses[0].addr_spec == "pepe@example.com"
        assert letter["To"] == "guest7@example.com"
        assert letter["Message-ID"] == outcome.provider_id
        assert letter["Date"].datetime
        assert letter.get_content_type() == "multipart/alternative"
        assert letter.get_body(("html",)).get_content().strip() == "<p>¡Olé!</p>"
        raw = self.inbox.envelopes[0].content
        header = b"List-Unsubscribe: " + one.headers["List-Unsubscribe"].encode() + b"\r\n"
        assert header in raw
        assert self.inbox.envelopes[0].mail_from == "pepe@example.com"

    def test_a_wrong_password_stops_the_account(self):
        (outcome,) = self.meet("accept", self.message(), password="other")
        assert outcome.verdict is Verdict.STOP_ACCOUNT
        assert "check username and password" in outcome.error

    def test_an_address_beyond_ascii_uses_smtputf8_only_where_needed(self):
        mails = self.message(1, address="josé@example.com"), self.message(2, address="a@münchen.de")
        outcomes = self.meet("accept", *mails)
        assert {outcome.verdict for outcome in outcomes} == {Verdict.ACCEPTED}
        found = {e.rcpt_tos[0]: e.smtp_utf8 for e in self.inbox.envelopes}
        assert found == {"josé@example.com": True, "a@xn--mnchen-3ya.de": False}

    @pytest.mark.parametrize(
        ("changes", "advice"),
        [
            ({"host": ""}, "Give host"),
            ({"username": ""}, "both username and password"),
            ({"host": "mail.example.com"}, "never travels unencrypted"),
            ({"from_address": "Pepe"}, "Not an e-mail address"),
            ({"from_name": "a\r\nBcc: x"}, "line breaks"),
            ({"security": "maybe"}, "starttls"),
            ({"port": 0}, "greater than"),
            ({"base_url": "http://127.0.0.1"}, "smtp://host:port"),
            ({"base_url": "smtp://u:p@127.0.0.1"}, "without user"),
        ],
    )
    def test_impossible_options_are_refused_with_advice(self, changes, advice):
        with pytest.raises(ValueError, match=advice):
            self.provider.options.model_validate(self.options(1) | changes)

    @pytest.mark.parametrize(
        ("changes", "endpoint"),
        [
            ({"port": None}, ("127.0.0.1", 25)),
            ({"port": None, "security": "starttls"}, ("127.0.0.1", 587)),
            ({"port": None, "security": "tls"}, ("127.0.0.1", 465)),
            ({"port": "2525"}, ("127.0.0.1", 2525)),
            ({"base_url": "smtp://localhost:99", "host": ""}, ("localhost", 99)),
        ],
    )
    def test_the_port_follows_from_the_security(self, changes, endpoint):
        options = self.provider.options.model_validate(self.options(1) | changes)
        assert options.endpoint() == endpoint


# Failure at each step, against the scripted server.


def hand_over(script, *numbers, one_after_another=True, concurrency=8, timeout=0.7, **changes):
    """Send letters over one connection object; the outcomes and the number of TCP connections."""
    suite = TestSmtp()

    async def scenario():
        async with serve(script) as served:
            given = suite.options(served.port) | {"username": "", "password": ""} | changes
            options = Smtp.options.model_validate(given)
            way = SmtpConnection(options, concurrency, dt.timedelta(seconds=timeout))
            sends = [way.send([suite.message(number)]) for number in numbers]
            try:
                if one_after_another:
                    return [(await send)[0] for send in sends], served.connections
                return [one for (one,) in await asyncio.gather(*sends)], served.connections
            finally:
                await way.close()

    return asyncio.run(scenario())


# Servers that take one command at a time, and those that take an envelope in one piece.
@pytest.fixture(params=[(), ("PIPELINING",)], ids=["one by one", "pipelining"])
def extensions(request):
    return request.param


@pytest.mark.parametrize("step", ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize("ending", ["drop", "reset", "hang", "nonsense"])
def test_a_failure_before_the_letter_is_written_is_unavailable(extensions, step, ending):
    server = MailServer(extensions, **{step: ending})
    (outcome,), _ = hand_over(server, 1)
    assert outcome.verdict is Verdict.UNAVAILABLE
    assert server.letters == []


@pytest.mark.parametrize("ending", ["drop", "reset", "hang", "nonsense", "354 Again"])
def test_a_failure_after_the_final_dot_is_unknown(extensions, ending):
    server = MailServer(extensions, DOT=ending)
    (outcome,), _ = hand_over(server, 1)
    assert outcome.verdict is Verdict.UNKNOWN
    assert len(server.letters) == 1


# (reply, verdict, bad address, only this address); at RCPT and after the final dot alike.
REPLIES = [
    ("421 4.3.2 Shutting down", Verdict.THROTTLED, False, False),
    ("450 4.7.1 Too fast", Verdict.THROTTLED, False, False),
    ("450 Greylisted", Verdict.THROTTLED, False, True),
    ("451 4.3.0 Try later", Verdict.THROTTLED, False, True),
    ("452 4.2.2 Full", Verdict.THROTTLED, False, True),
    ("552 5.2.2 Full", Verdict.THROTTLED, False, True),
    ("550 5.1.1 Unknown", Verdict.REJECTED, True, False),
    ("550 5.1.10 Null MX", Verdict.REJECTED, True, False),
    ("550-5.1.1 Unknown\r\n550 5.1.1 Really", Verdict.REJECTED, True, False),
    ("553 5.1.8 Bad sender domain", Verdict.STOP_ACCOUNT, False, False),
    ("550 5.7.26 Not authenticated", Verdict.REJECTED, False, False),
    ("530 5.7.0 Log in first", Verdict.STOP_ACCOUNT, False, False),
    ("535 5.7.8 Bad credentials", Verdict.STOP_ACCOUNT, False, False),
    ("550 No", Verdict.REJECTED, False, False),
    ("554 5.6.0 Bad content", Verdict.REJECTED, False, False),
    # An enhanced code of another class than the reply is a mistake of the server.
    ("550 4.7.1 Confused", Verdict.REJECTED, False, False),
]


@pytest.mark.parametrize("step", ["RCPT", "DATA", "DOT"])
@pytest.mark.parametrize(("reply", "verdict", "bad", "only_this"), REPLIES)
def test_each_reply_has_its_outcome(extensions, step, reply, verdict, bad, only_this):
    (outcome,), _ = hand_over(MailServer(extensions, **{step: reply}), 1)
    assert outcome.verdict is verdict
    assert (outcome.bad_address, outcome.this_address_only) == (bad, only_this)
    assert bool(outcome.retry_after) is (verdict is Verdict.THROTTLED)
    assert outcome.code.startswith(reply[:3])


@pytest.mark.parametrize("step", ["CONNECT", "EHLO", "MAIL"])
@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        ("421 Busy", Verdict.THROTTLED),
        ("451 4.3.0 Later", Verdict.THROTTLED),
        ("550 5.7.1 Not you", Verdict.STOP_ACCOUNT),
        ("554 No service", Verdict.STOP_ACCOUNT),
    ],
)
def test_a_refusal_before_the_recipient_is_about_the_account(extensions, step, reply, verdict):
    # Where EHLO is refused, HELO is tried.
    (outcome,), _ = hand_over(MailServer(extensions, **{step: reply, "HELO": reply}), 1)
    assert outcome.verdict is verdict
    assert not outcome.this_address_only


def test_a_letter_is_not_written_after_its_time(extensions):
    server = MailServer(extensions)
    with_deadline = write_by.deadline.set(clock.boot_seconds() - 1)
    try:
        (outcome,), _ = hand_over(server, 1)
    finally:
        write_by.deadline.reset(with_deadline)
    assert outcome.verdict == Verdict.UNAVAILABLE
    assert server.letters == []


def test_a_server_without_starttls_never_gets_the_letter_in_clear():
    server = MailServer()
    (outcome,), _ = hand_over(server, 1, security="starttls")
    assert outcome.verdict is Verdict.STOP_ACCOUNT
    assert b"MAIL" not in b"".join(server.commands)


def test_a_server_without_login_stops_the_account():
    server = MailServer()
    (outcome,), _ = hand_over(server, 1, username="pepe", password="x")
    assert outcome.verdict is Verdict.STOP_ACCOUNT
    assert b"MAIL" not in b"".join(server.commands)


def test_an_address_beyond_ascii_is_refused_where_the_server_cannot():
    suite, server = TestSmtp(), MailServer()

    async def scenario():
        async with serve(server) as served:
            given = suite.options(served.port) | {"username": "", "password": ""}
            way = await Smtp().connect(Smtp.options.model_validate(given), None)
            one = await way.send([suite.message(1, address="josé@example.com")])
            two = await way.send([suite.message(2)])
            await way.close()
            return one + two

    assert [o.verdict for o in asyncio.run(scenario())] == [Verdict.REJECTED, Verdict.ACCEPTED]


# Connections.


def test_letters_share_a_connection_and_a_refusal_does_not_end_it():
    server = MailServer(RCPT=lambda line: "550 5.1.1 No" if b"guest2@" in line else None)
    outcomes, connections = hand_over(server, 1, 2, 3, 4)
    assert [o.verdict for o in outcomes] == ["accepted", "rejected", "accepted", "accepted"]
    assert connections == 1
    assert server.commands.count(b"RSET") == 1


def test_a_connection_ends_in_order_after_its_share_of_letters(monkeypatch):
    monkeypatch.setattr(sessions, "LETTERS_PER_SESSION", 3)
    server = MailServer()
    outcomes, connections = hand_over(server, *range(1, 8))
    assert {o.verdict for o in outcomes} == {Verdict.ACCEPTED}
    assert connections == 3
    assert server.commands.count(b"QUIT") == 3
    assert len(server.letters) == 7


def test_an_envelope_in_one_piece_is_refused_without_ending_the_connection():
    refused = []

    def recipient(line):
        refused.append(b"guest2@" in line)
        return "550 5.1.1 No" if refused[-1] else None

    def data(_):
        return "554 5.5.1 No valid recipients" if refused[-1] else None

    server = MailServer(("PIPELINING",), RCPT=recipient, DATA=data)
    outcomes, connections = hand_over(server, 1, 2, 3)
    assert [o.verdict for o in outcomes] == ["accepted", "rejected", "accepted"]
    assert (connections, len(server.letters)) == (1, 2)
    assert server.commands.count(b"RSET") == 1


def test_a_server_that_wants_the_letter_of_a_refused_recipient_does_not_get_it():
    server = MailServer(("PIPELINING",), RCPT=lambda line: "550 5.1.1 No" if b"guest2@" in line else None)
    outcomes, connections = hand_over(server, 1, 2, 3)
    assert [o.verdict for o in outcomes] == ["accepted", "rejected", "accepted"]
    assert (connections, len(server.letters)) == (2, 2)
    assert not any(b"guest2@" in letter for letter in server.letters)


@pytest.mark.parametrize("unasked", ["250 2.0.0 Taken\r\n421 4.4.2 Goodbye", "250 2.0.0 Taken\r\n250 What"])
def test_what_a_server_says_unasked_ends_the_connection_and_changes_no_outcome(extensions, unasked):
    server = MailServer(extensions, DOT=unasked)
    outcomes, connections = hand_over(server, 1, 2)
    assert {o.verdict for o in outcomes} == {Verdict.ACCEPTED}
    assert (connections, len(server.letters)) == (2, 2)


def test_a_server_that_hung_up_meanwhile_is_called_again(extensions):
    """Before a letter is begun this is safe: each letter arrives once."""
    for ending in ("drop", "reset", "421 4.4.2 Idle too long", "nonsense"):
        count = iter(range(100))
        server = MailServer(extensions, MAIL=lambda _, c=count, e=ending: e if next(c) == 1 else None)
        outcomes, connections = hand_over(server, 1, 2)
        assert {o.verdict for o in outcomes} == {Verdict.ACCEPTED}
        assert (connections, len(server.letters)) == (2, 2)


def test_at_most_as_many_connections_as_allowed_are_open():
    server = MailServer()
    numbers = range(1, 31)
    outcomes, connections = hand_over(server, *numbers, one_after_another=False, concurrency=3)
    assert {o.verdict for o in outcomes} == {Verdict.ACCEPTED}
    assert connections <= 3
    assert len(server.letters) == 30


def test_a_cancelled_letter_leaves_no_half_used_connection():
    suite, server = TestSmtp(), MailServer(RCPT=lambda line: "hang" if b"guest1@" in line else None)

    async def scenario():
        async with serve(server) as served:
            given = suite.options(served.port) | {"username": "", "password": ""}
            way = await Smtp().connect(Smtp.options.model_validate(given), None)
            task = asyncio.create_task(way.send([suite.message(1)]))
            await asyncio.sleep(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            (outcome,) = await way.send([suite.message(2)])
            await way.close()
            return outcome, served.connections

    outcome, connections = asyncio.run(scenario())
    assert outcome.verdict is Verdict.ACCEPTED
    assert connections == 2
    assert len(server.letters) == 1


# Encryption.


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for 127.0.0.1 that signs itself, as files."""
    from ipaddress import ip_address

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("certificate")
    (folder / "certificate.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return folder


@pytest.mark.parametrize("security", ["tls", "starttls"])
@pytest.mark.parametrize("trusted", [True, False])
def test_letters_travel_encrypted_to_a_trusted_server_only(security, trusted, certificate, monkeypatch):
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "certificate.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "certificate.pem", certificate / "key.pem")
    suite, inbox = TestSmtp(), Inbox("accept")

    async def scenario():
        way = {"tls": context} if security == "tls" else {"tls_context": context}
        async with aiosmtpd_server(inbox, **way) as port:
            changes = {"security": security, "username": "", "password": ""}
            return await suite.hand_over(port, suite.message(), **changes)

    (outcome,) = asyncio.run(scenario())
    assert outcome.verdict is (Verdict.ACCEPTED if trusted else Verdict.UNAVAILABLE)
    assert len(inbox.envelopes) == (1 if trusted else 0)
