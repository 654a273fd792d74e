"""The fault server behind each of its doors, and accounts that lead to it."""

import contextlib
import datetime as dt

import pytest
from tests.contract.servers import deaf_port
from tests.faults.certificates import Authority
from tests.faults.server import HttpFaults, SmtpFaults, refused_port
from tests.faults.table import SID, TOKEN
from tests.runs.conftest import account, make_automation

__all__ = ["account", "make_automation"]

from regulars.providers.registry import get
from regulars.providers.smtp.send import Smtp
from regulars.providers.twilio import send as twilio

# Of the adapters, in the tests: short, but no loaded machine is that slow. The faults last longer.
CONNECT, HTTP, SMTP = 0.6, 1.0, 0.7


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def hurry(monkeypatch):
    """Shorten the adapters' timeouts."""
    real = twilio.HttpClient
    connect, total = dt.timedelta(seconds=CONNECT), dt.timedelta(seconds=HTTP)

    def quick(concurrency):
        return real(concurrency=concurrency, total_timeout=total, connect_timeout=connect)

    monkeypatch.setattr(twilio, "HttpClient", quick)
    # The adapter keeps a second of it for the goodbye.
    monkeypatch.setattr(Smtp, "request_timeout", dt.timedelta(seconds=1 + SMTP))


@pytest.fixture
def open_door(authority, monkeypatch):
    """`open_door(kind, door, usual)` gives (server or None, account options)."""
    with contextlib.ExitStack() as stack:

        def open_one(kind, door, usual):
            make = HttpFaults if kind == "twilio" else SmtpFaults
            if door == "refused":
                return None, options(kind, stack.enter_context(refused_port()))
            if door == "deaf":
                return None, options(kind, stack.enter_context(deaf_port()))
            if door == "nowhere":
                # A label over 63 characters fails in the resolver, without asking any server.
                return None, options(kind, 1, host="a" * 64 + ".invalid")
            contexts = {
                "self-signed": lambda: authority.context(signs_itself=True),
                "expired": lambda: authority.context(days=-1),
                "other name": lambda: authority.context(address="127.0.0.2"),
            }
            monkeypatch.setenv("SSL_CERT_FILE", str(authority.root))
            where = {}
            if door.startswith("starttls"):
                where["starttls"] = authority.context(signs_itself=door.endswith("self-signed"))
            elif door in contexts:
                where["tls"] = contexts[door]()
            elif door == "tls":
                where["tls"] = authority.context()
            server = stack.enter_context(make(usual, **where))
            return server, options(kind, server.port, tls="tls" in where or door == "not tls")

        yield open_one


def options(kind, port, *, host="127.0.0.1", tls=False):
    """The options of an account that leads to this port."""
    if kind == "twilio":
        return {
            "account_sid": SID,
            "auth_token": TOKEN,
            "from": "+12015550100",
            "base_url": f"{'https' if tls else 'http'}://{host}:{port}",
        }
    return {
        "host": host,
        "port": port,
        "security": "none",
        # Given empty: what is left out of a change stays as it was.
        "username": "",
        "password": "",
        "from_address": "pepe@example.com",
        "from_name": "Casa Pepe",
    }


def account_options(kind, values):
    return get(kind).options.model_validate(values)
