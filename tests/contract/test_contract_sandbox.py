"""The sandbox: the parts of the contract that need no vendor, and the fates it deals out."""

import asyncio
import os
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regulars.providers.base import Verdict
from regulars.providers.sandbox.options import Fate, SandboxOptions, fate_of
from regulars.providers.sandbox.send import Sandbox

from .suite import TEXTS, message


def meet(*messages, connections=1, write=None, **options):
    """Hand over, all at once on each connection; the outcomes, and what the outbox got."""
    provider, calls = Sandbox(), []

    async def outbox(batch):
        await asyncio.sleep(0)
        calls.append(list(batch))

    async def scenario():
        outcomes = []
        for _ in range(connections):
            chosen = SandboxOptions.model_validate(options)
            connection = await provider.connect(chosen, write or outbox)
            sends = (connection.send([one]) for one in messages)
            outcomes += [outcome for (outcome,) in await asyncio.gather(*sends)]
            await connection.close()
        return outcomes

    return asyncio.run(scenario()), calls


def written(calls):
    return sorted(one.message_id for group in calls for one in group)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_an_accepted_message_is_in_the_outbox_as_it_was_written(text):
    (outcome,), ((row,),) = meet(message(7, body=text))
    assert outcome.verdict is Verdict.ACCEPTED
    assert outcome.provider_id == "sandbox-7"
    assert row.body == text


@pytest.mark.parametrize(
    ("channel", "address", "words"),
    [
        ("sms", "+12015550123", "Invalid phone number"),
        ("whatsapp", "+12015550123", "Invalid phone number"),
        ("email", "marta@example.com", "Invalid address"),
    ],
)
def test_a_rejected_address_reads_as_in_the_ordered_document(channel, address, words):
    one = message(1, channel=channel, address=address)
    (outcome,), calls = meet(one, reject_addresses=[address[-4:]])
    assert (outcome.verdict, outcome.error) == (Verdict.REJECTED, words)
    assert outcome.bad_address
    assert calls == []


def test_throttled_messages_are_taken_on_the_second_attempt_even_by_a_new_connection():
    (first, second), calls = meet(message(1), connections=2, throttle_share=1)
    assert first.verdict is Verdict.THROTTLED
    assert first.retry_after
    assert second.verdict is Verdict.ACCEPTED
    assert written(calls) == [1]


@pytest.mark.parametrize(("attempt", "verdict"), [(1, "throttled"), (2, "accepted"), (3, "accepted")])
def test_the_attempt_decides_where_it_is_told(attempt, verdict):
    (outcome,), _ = meet(message(1, attempt=attempt), throttle_share=1)
    assert outcome.verdict == verdict


def test_half_of_the_unanswered_messages_arrived():
    outcomes, calls = meet(*(message(n) for n in range(1, 401)), timeout_share=1)
    assert {outcome.verdict for outcome in outcomes} == {Verdict.UNKNOWN}
    assert 150 < len(written(calls)) < 250


def test_without_leave_from_the_environment_die_only_falls_silent(monkeypatch):
    monkeypatch.delenv("REGULARS_SANDBOX_MAY_DIE", raising=False)
    (outcome,), calls = meet(message(1), die_share=1)
    assert outcome.verdict is Verdict.UNKNOWN
    assert written(calls) == [1]


DIE = """
import asyncio, sys
from regulars.providers.base import Outgoing
from regulars.providers.sandbox.send import Sandbox
async def outbox(batch):
    print("written", batch[0].message_id, flush=True)
async def main():
    provider = Sandbox()
    connection = await provider.connect(provider.options(die_addresses=["0123"]), outbox)
    await connection.send([Outgoing(5, "k", "sms", "+12015550123", "Hola")])
    print("survived")
asyncio.run(main())
"""


def test_die_kills_the_process_after_the_message_was_taken():
    environment = os.environ | {"REGULARS_SANDBOX_MAY_DIE": "1"}
    command = [sys.executable, "-c", DIE]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (-9, "written 5\n")


def test_calls_in_flight_together_are_written_together():
    outcomes, calls = meet(*(message(n) for n in range(1, 65)))
    assert {outcome.verdict for outcome in outcomes} == {Verdict.ACCEPTED}
    assert written(calls) == list(range(1, 65))
    assert len(calls) <= 2


def test_an_outbox_that_fails_leaves_its_messages_unknown():
    async def broken(batch):
        raise RuntimeError("no database")

    outcomes, _ = meet(message(1), message(2), write=broken)
    assert {outcome.verdict for outcome in outcomes} == {Verdict.UNKNOWN}


def test_a_cancelled_call_does_not_take_its_neighbours_along():
    async def scenario():
        gate, rows = asyncio.Event(), []

        async def slow(batch):
            await gate.wait()
            rows.extend(batch)

        connection = await Sandbox().connect(SandboxOptions(), slow)
        tasks = [asyncio.create_task(connection.send([message(n)])) for n in (1, 2)]
        await asyncio.sleep(0.01)
        tasks[0].cancel()
        gate.set()
        (outcome,) = await tasks[1]
        await connection.close()
        return outcome, rows

    outcome, rows = asyncio.run(scenario())
    assert outcome.verdict is Verdict.ACCEPTED
    assert [row.message_id for row in rows] == [1, 2]


def test_the_delay_is_about_as_long_as_it_was_told():
    async def scenario():
        async def outbox(batch):
            return

        connection = await Sandbox().connect(SandboxOptions(delay_ms=100), outbox)
        start = asyncio.get_running_loop().time()
        await connection.send([message(1)])
        return asyncio.get_running_loop().time() - start

    assert 0.09 < asyncio.run(scenario()) < 1


def test_shares_are_kept_and_the_same_message_always_meets_the_same_fate():
    options = SandboxOptions(reject_share=0.2, throttle_share=0.1, timeout_share=0.05)
    fates = [fate_of(message(n), options) for n in range(4_000)]
    assert fates == [fate_of(message(n), options) for n in range(4_000)]
    counts = Counter(fates)
    assert abs(counts[Fate.REJECT] - 800) < 120
    assert abs(counts[Fate.THROTTLE] - 400) < 90
    assert abs(counts[Fate.TIMEOUT] - 200) < 70


@given(st.integers(0, 2**40), st.sampled_from(["reject", "throttle", "timeout", "die"]))
def test_a_share_of_one_meets_everybody(number, name):
    options = SandboxOptions.model_validate({f"{name}_share": 1})
    assert fate_of(message(number), options) is Fate(name)


def test_options_are_read_from_text_as_the_command_line_gives_them():
    options = SandboxOptions.model_validate(
        {"reject_share": "0.25", "reject_addresses": "0123, 0124", "base_url": "http://x"}
    )
    assert options.reject_share == 0.25
    assert options.reject_addresses == ("0123", "0124")


@pytest.mark.parametrize(
    "options", [{"reject_share": 1.1}, {"reject_share": 0.6, "die_share": 0.6}, {"nonsense": 1}]
)
def test_impossible_options_are_refused(options):
    with pytest.raises(ValueError):
        SandboxOptions.model_validate(options)
