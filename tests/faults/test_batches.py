"""Whole runs through a provider that takes several messages a call: who is in doubt, and who is not."""

import json
from collections import Counter

import pytest
from tests.contract.servers import read_request
from tests.faults import test_runs
from tests.faults.server import ACCEPTS, FaultServer, Reply, http
from tests.faults.test_runs import World, addresses, nobody_got_two, states

from regulars.providers.batches import MESSAGES_A_CALL
from regulars.runs.lane import WINDOW
from regulars.runs.models import Message, RunState

pytestmark = pytest.mark.django_db(transaction=True)


def refusal(status, code, words):
    return http(status, json.dumps({"code": code, "message": words}).encode(), refuses=True)


BAD_ADDRESS = refusal(400, "invalid_parameter", "email is not valid in to")
BAD_SUBJECT = refusal(400, "invalid_parameter", "subject is not valid")
BAD_KEY = refusal(401, "unauthorized", "Key not found")
LOST = Reply("read", ending="reset")


class BatchFaults(FaultServer):
    """Brevo's letters: a call is refused as a whole where one of its addresses is scripted to be."""

    def __init__(self):
        super().__init__()
        self.sizes = []

    async def serve(self, reader, writer):
        while True:
            request = await read_request(reader)
            document = json.loads(request.partition(b"\r\n\r\n")[2])
            versions = document.get("messageVersions") or [document]
            called = [version["to"][0]["email"] for version in versions]
            drawn = self.script.draw()
            replies = [self.script.for_address(address, drawn) for address in called]
            reply = next((one for one in replies if one is not ACCEPTS), ACCEPTS)
            self.sizes.append(len(called))
            for address in called:
                self.note(address, reply)
            await self.say(writer, self._made(reply, called))

    def _made(self, reply, called):
        if reply is not ACCEPTS:
            return reply
        ids = [f"<{address}>" for address in called]
        answer = {"messageIds": ids} if len(ids) > 1 else {"messageId": ids[0]}
        return http(201, json.dumps(answer).encode())


@pytest.fixture
def world(organization, venue, make_automation, now, monkeypatch):
    monkeypatch.setitem(test_runs.CHANNELS, "brevo", "email")
    return World(organization, venue, make_automation, now)


@pytest.fixture
def server(world):
    with BatchFaults() as server:
        base = f"http://127.0.0.1:{server.port}/v3"
        world.account_at("brevo", {"api_key": "k", "from_address": "a@example.com", "base_url": base})
        yield server


def test_a_run_goes_out_in_full_batches_each_guest_once(world, server):
    run = world.plan("brevo", 200)
    world.turn(run)
    world.turns_until_over(run)
    assert states(run) == {"sent": 200}
    assert nobody_got_two(server) == addresses(run, "sent")
    assert Counter(server.sizes)[MESSAGES_A_CALL] >= 4
    assert max(server.sizes) == MESSAGES_A_CALL
    ids = dict(Message.objects.filter(run=run).values_list("address", "provider_id"))
    assert all(known == f"<{address}>" for address, known in ids.items())


def test_one_bad_address_fails_alone_though_its_batch_was_refused(world, server):
    run = world.plan("brevo", 100)
    guest = Message.objects.filter(run=run).order_by("?").first().address
    server.follow(by_address={guest: BAD_ADDRESS})
    world.turn(run)
    world.turns_until_over(run)
    assert states(run) == {"sent": 99, "failed": 1}
    assert Message.objects.get(run=run, state="failed").address == guest
    assert nobody_got_two(server) == addresses(run, "sent")


def test_a_lost_call_leaves_its_own_batch_in_doubt_and_no_other(world, server):
    run = world.plan("brevo", 200)
    server.follow(ACCEPTS, [LOST])
    world.turn(run)
    world.turns_until_over(run)
    assert states(run) == {"sent": 200 - MESSAGES_A_CALL, "unknown": MESSAGES_A_CALL}
    # The server had taken them all the same: a second try would have been a second letter.
    assert len(nobody_got_two(server)) == 200


def test_a_provider_that_falls_silent_leaves_at_most_one_window_in_doubt(world, server):
    run = world.plan("brevo", 300)
    server.follow(LOST)
    world.turn(run)
    assert 0 < states(run)["unknown"] <= WINDOW
    server.follow()
    world.turns_until_over(run)
    assert len(nobody_got_two(server)) == 300


def test_a_subject_that_is_refused_for_all_fails_nobody(world, server):
    run = world.plan("brevo", 100)
    server.follow(BAD_SUBJECT)
    world.turn(run)
    assert run.state == RunState.PAUSED
    assert "subject is not valid" in run.reason
    assert states(run) == {"queued": 100}
    server.follow()
    world.mended(run)
    world.turns_until_over(run)
    assert states(run) == {"sent": 100}
    assert nobody_got_two(server) == addresses(run, "sent")


def test_a_wrong_key_pauses_the_run_and_fails_nobody(world, server):
    run = world.plan("brevo", 100)
    server.follow(BAD_KEY)
    world.turn(run)
    assert run.state == RunState.PAUSED
    assert states(run) == {"queued": 100}
    assert len(server.sizes) <= WINDOW // MESSAGES_A_CALL


def test_a_daily_limit_cuts_a_batch_short(world, server):
    run = world.plan("brevo", 40)
    run.automation.organization.accounts.update(per_day=10)
    world.turn(run)
    assert states(run) == {"sent": 10, "queued": 30}
    assert nobody_got_two(server) == addresses(run, "sent")
