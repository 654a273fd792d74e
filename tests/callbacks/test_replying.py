"""A confirmation is handed over once, soon, or not at all."""

import asyncio
import json
from datetime import timedelta
from urllib.parse import parse_qs

import pytest
from tests.contract.servers import answering, http_answer, read_request, reset, serve

from regulars.automations import accounts, callback_access
from regulars.callbacks import inbound, replying
from regulars.callbacks.models import Reply
from regulars.customers.suppression import suppress
from regulars.lib import sql
from regulars.providers.callbacks import Inbound

NUMBER = "+12015550100"
ACCEPTED = http_answer(201, json.dumps({"sid": "SM" + "b" * 32, "status": "queued"}).encode())


@pytest.fixture
def account(organization):
    options = {"account_sid": "AC" + "a" * 32, "auth_token": "t0ken", "from": "+12015550199"}
    return accounts.create_account(organization, "texts", "twilio", options)


@pytest.fixture
def waiting(account):
    """A confirmation that waits."""

    def wait(text="Baja", key="SM1"):
        said = Inbound(key, "sms", NUMBER, text)
        assert inbound.take(said, account, callback_access.access_of(account), sql.database_now())
        return Reply.objects.get(inbound__key=key)

    return wait


def sent(account, respond, times=1):
    """What reaches the provider while what waits is sent."""

    async def send():
        async with serve(respond) as served:
            options = accounts.public_options(account) | {"base_url": f"http://127.0.0.1:{served.port}"}
            await replying.aside(accounts.change_account)(account, options=options)
            for _ in range(times):
                await replying.send_waiting()
        return [request.partition(b"\r\n\r\n")[2].decode() for request in served.received]

    return asyncio.run(send())


@pytest.mark.django_db(transaction=True)
def test_a_confirmation_leaves_once_through_the_account_that_was_written_to(account, waiting):
    reply = waiting()
    (body,) = sent(account, answering(lambda _: ACCEPTED), times=3)
    fields = {name: values[0] for name, values in parse_qs(body).items()}
    assert (fields["To"], fields["Body"], fields["From"]) == (NUMBER, reply.body, "+12015550199")
    assert "StatusCallback" not in fields
    reply.refresh_from_db()
    assert (reply.state, reply.provider_id) == ("sent", "SM" + "b" * 32)


@pytest.mark.django_db(transaction=True)
def test_without_a_clear_answer_it_is_never_sent_again(account, waiting):
    reply = waiting()

    async def lost(reader, writer, served):
        served.received.append(await read_request(reader))
        reset(writer)

    assert len(sent(account, lost, times=2)) == 1
    reply.refresh_from_db()
    assert reply.state == "sending"


@pytest.mark.django_db(transaction=True)
def test_a_refusal_is_kept_and_not_repeated(account, waiting):
    reply = waiting()
    refused = http_answer(400, json.dumps({"code": 21610, "message": "Unsubscribed", "status": 400}).encode())
    assert len(sent(account, answering(lambda _: refused), times=2)) == 1
    reply.refresh_from_db()
    assert reply.state == "failed"
    assert "unsubscribed" in reply.error


@pytest.mark.django_db
@pytest.mark.parametrize("why", ["late", "suppressed", "broken", "no channel", "banned"])
def test_what_may_not_go_any_more_is_dropped(account, waiting, make_customer, why):
    guest = make_customer(channels=("sms",), address=NUMBER)
    reply = waiting()
    now = sql.database_now()
    if why == "late":
        now += timedelta(minutes=6)
    elif why == "suppressed":
        suppress(account.organization, NUMBER, "", "complaint")
    elif why == "broken":
        type(account).objects.update(broken_reason="No credit")
    elif why == "no channel":
        type(account).objects.update(channels=["whatsapp"])
    else:
        type(guest).objects.update(do_not_contact=True)
    assert replying.claim(now) == []
    reply.refresh_from_db()
    assert reply.state == "dropped"
    assert replying.claim(now) == []


@pytest.mark.django_db
def test_a_claimed_confirmation_is_nobody_elses(waiting):
    waiting()
    now = sql.database_now()
    assert len(replying.claim(now)) == 1
    assert replying.claim(now) == []
