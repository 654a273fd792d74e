"""One click in the mail program, end to end: a real mail, its own header, the last one that comes."""

import urllib.parse
import urllib.request
from datetime import date, timedelta

import pytest
from tests import live
from tests.journeys.test_cdnow_by_mail import Browserless, Sink, answers, free_port, sink

__all__ = ["sink"]

PASSWORD = "a long and good password"
GUESTS = """external_id,first_name,email,email_consent,consent_source
1,Marta,marta@example.com,yes,paper form
2,Juan,juan@example.com,yes,paper form
"""
LONG_AGO = date.today() - timedelta(days=100)
VISITS = f"""external_id,customer_external_id,visited_at
a,1,{LONG_AGO}
b,2,{LONG_AGO}
"""


@pytest.fixture
def site(installation, sink, tmp_path):
    """A server with its worker, two guests who have agreed, and an owner who is signed in."""
    port = free_port()
    installation |= {"REGULARS_PUBLIC_URL": f"http://127.0.0.1:{port}"}
    live.run(installation, "organization", "create", "casa", "--language", "en")
    live.run(installation, "organization", "tact", "casa", "--quiet-hours", "none")
    live.run(
        installation,
        *("user", "create", "owner@example.com", "--role", "owner", "--password-stdin"),
        input=f"{PASSWORD}\n",
    )
    for kind, text in (("customers", GUESTS), ("visits", VISITS)):
        (tmp_path / f"{kind}.csv").write_text(text)
        live.run(installation, "import", kind, str(tmp_path / f"{kind}.csv"))
    live.run(
        installation,
        *("provider", "add", "post", "--kind", "smtp", "-o", "host=127.0.0.1", "-o", f"port={sink[1]}"),
        *("-o", "security=none", "-o", "from_address=hello@example.com"),
    )
    server = live.start(installation, "up", "--port", str(port))
    try:
        live.wait_until(lambda: answers(port), seconds=60, what="the server")
        caller = Browserless(f"http://127.0.0.1:{port}/api")
        # Without a live worker a run answers at once, before anything is sent.
        live.wait_until(
            lambda: caller.call("GET", "/health")["status"] == "ok", seconds=60, what="the worker"
        )
        caller.call("POST", "/session", {"email": "owner@example.com", "password": PASSWORD})
        yield caller
    finally:
        live.stop(server)


def write(site, name):
    """An automation of its own writes to all who may be written to; the run's answer."""
    text = {"channel": "email", "language": "en", "subject": name, "body": "Come back soon."}
    made = site.call(
        "POST",
        "/automations?reach=2",
        {
            "name": name,
            "trigger": "inactive",
            "parameters": {"min_visits": 1},
            "channels": ["email"],
            "templates": [text],
            "policy": {"cooldown_days": 0},
            "enabled": True,
        },
    )
    return made["id"], site.call("POST", f"/automations/{made['id']}/run")


def click(header):
    """What a mail program does: a POST without cookies, and no redirect is followed."""
    body = urllib.parse.urlencode({"List-Unsubscribe": "One-Click"}).encode()
    request = urllib.request.Request(header.strip("<>"), data=body, method="POST")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=100) as answer:
        return answer.status, answer.headers.get("Set-Cookie")


@pytest.mark.slow
def test_one_click_in_the_mail_program_is_the_end_of_it(site, sink):
    kept: Sink = sink[0]
    assert write(site, "We miss you")[1]["sent"] == 2
    letters = {to: letter for (to,), letter in kept.letters}
    header = letters["marta@example.com"]["List-Unsubscribe"]
    assert letters["marta@example.com"]["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert header != letters["juan@example.com"]["List-Unsubscribe"]
    assert click(header) == (200, None)
    automation, again = write(site, "We miss you still")
    assert (again["sent"], again["skipped"]) == (1, 1)
    assert [to for (to,), _ in kept.letters].count("marta@example.com") == 1
    (left_out,) = [
        row
        for row in site.call("GET", f"/automations/{automation}/preview/verdicts")["items"]
        if row["reason"] == "no_consent"
    ]
    newest, first = site.call("GET", f"/customers/{left_out['customer_id']}/consents")["items"]
    assert (newest["granted"], newest["source"]) == (False, "one click in the mail program")
    assert newest["evidence"]["message"]
    assert (first["granted"], first["source"], first["is_current"]) == (True, "paper form", False)
