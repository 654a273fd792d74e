"""A run's progress as server-sent events: what is told, when it ends, and what it leaves behind."""

import asyncio
import json

import pytest
from asgiref.sync import async_to_sync
from django.db import connection
from django.test import AsyncClient

from regulars.api import streaming, waiting
from regulars.runs.models import Run, RunChunk

pytestmark = pytest.mark.django_db(transaction=True)
BACKEND = "allauth.account.auth_backends.AuthenticationBackend"


@pytest.fixture
def under_way(run, account):
    """A run of four messages, of which none has left."""
    Run.objects.filter(pk=run.pk).update(state="sending", due=4)
    RunChunk.objects.create(run=run, number=1, account_id=account.pk, total=4)
    return run


def change(run, *, notify=True, state=None, **counts):
    """What a worker does to the ledger, and its word about it."""
    RunChunk.objects.filter(run=run).update(**counts) if counts else None
    if state:
        Run.objects.filter(pk=run.pk).update(state=state)
    if notify:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_notify('regulars_runs', %s)", [str(run.pk)])
    connection.close()


class Reader:
    """Reads a stream event by event, as a browser would."""

    def __init__(self, stream):
        self.stream = stream

    async def event(self):
        """The next event as (name, id, data); None at the end; comments are passed over."""
        async for chunk in self.stream:
            fields = dict(line.split(": ", 1) for line in chunk.decode().splitlines() if line)
            if "event" in fields:
                return fields["event"], int(fields["id"]), json.loads(fields["data"])
        return None

    async def close(self):
        await self.stream.aclose()


def read(scenario):
    """Run `scenario(open)` in an event loop; `open(run)` begins a stream."""

    async def play():
        return await scenario(lambda run: Reader(streaming.events(run.pk, streaming._streams.take())))

    result = async_to_sync(play)()
    assert streaming._streams.taken == 0
    return result


def test_the_first_event_is_the_state_now_and_the_last_says_that_it_is_over(under_way):
    async def scenario(begin):
        reader = begin(under_way)
        events = [await reader.event()]
        await asyncio.to_thread(change, under_way, sent=3, failed=1)
        events.append(await reader.event())
        await asyncio.to_thread(change, under_way, state="finished")
        events += [await reader.event(), await reader.event()]
        return events, await reader.event()

    events, after = read(scenario)
    assert [name for name, _, _ in events] == ["progress", "progress", "progress", "over"]
    assert [number for _, number, _ in events] == [1, 2, 3, 4]
    first, second, third, last = (data for _, _, data in events)
    assert (first["state"], first["processed"], first["held"]) == ("sending", 4, 4)
    assert (second["sent"], second["failed"], second["held"]) == (3, 1, 0)
    assert (third["state"], last["state"]) == ("finished", "finished")
    assert after is None


def test_a_lost_notification_is_found_by_looking(under_way):
    async def scenario(begin):
        reader = begin(under_way)
        await reader.event()
        await asyncio.to_thread(change, under_way, notify=False, sent=1)
        _, _, data = await reader.event()
        await reader.close()
        return data

    assert read(scenario)["sent"] == 1


def test_changes_between_two_looks_are_told_as_one(under_way, monkeypatch):
    """There is a pause of a quarter of a second between two looks, whatever rings meanwhile."""
    assert streaming.LEAST_SECONDS == 0.25

    async def scenario(begin):
        over = asyncio.Event()
        monkeypatch.setattr(streaming, "_pause", over.wait)
        reader = begin(under_way)
        await reader.event()
        following = asyncio.create_task(reader.event())
        for sent in range(1, 5):
            await asyncio.to_thread(change, under_way, sent=sent)
        over.set()
        event = await following
        await reader.close()
        return event

    _, number, data = read(scenario)
    assert (number, data["sent"]) == (2, 4)


def test_a_quiet_stream_is_kept_open_by_comments(under_way, monkeypatch):
    monkeypatch.setattr(streaming, "HEARTBEAT_SECONDS", 0.5)

    async def scenario(begin):
        stream = streaming.events(under_way.pk, streaming._streams.take())
        async for chunk in stream:
            if chunk.startswith(b": "):
                break
        await stream.aclose()
        return chunk

    assert read(scenario).endswith(b"\n\n")


def test_a_run_that_is_over_is_told_and_closed_at_once(under_way):
    change(under_way, state="cancelled")

    async def scenario(begin):
        reader = begin(under_way)
        return [await reader.event(), await reader.event(), await reader.event()]

    first, second, third = read(scenario)
    assert (first[0], second[0], third) == ("progress", "over", None)


def test_a_paused_run_is_not_over(under_way):
    change(under_way, state="paused")

    async def scenario(begin):
        reader = begin(under_way)
        await reader.event()
        await asyncio.to_thread(change, under_way, state="sending")
        event = await reader.event()
        await reader.close()
        return event

    name, _, data = read(scenario)
    assert (name, data["state"]) == ("progress", "sending")


def test_the_stream_outlives_its_connections_to_the_database(under_way):
    """As at a restart of the server: every connection of this database is cut at once."""

    def cut():
        with connection.cursor() as cursor:
            cursor.execute(
                """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                    WHERE datname = current_database() AND usename = current_user
                      AND pid <> pg_backend_pid()"""
            )
        connection.close()

    async def scenario(begin):
        reader = begin(under_way)
        await reader.event()
        await asyncio.to_thread(cut)
        await asyncio.to_thread(change, under_way, sent=2)
        _, _, data = await reader.event()
        await asyncio.sleep(1.5)
        await asyncio.to_thread(change, under_way, sent=4)
        _, _, later = await reader.event()
        await reader.close()
        return data["sent"], later["sent"]

    assert read(scenario) == (2, 4)


def test_a_reader_that_leaves_gives_everything_back(under_way):
    async def scenario(begin):
        reader = begin(under_way)
        await reader.event()
        assert streaming._streams.taken == 1
        listener = waiting._listeners[asyncio.get_running_loop()]
        assert listener.bells
        await reader.close()
        return streaming._streams.taken, dict(listener.bells), listener.task

    assert read(scenario) == (0, {}, None)


def test_a_seat_is_given_back_by_who_never_began_to_read(under_way):
    stream = streaming.events(under_way.pk, streaming._streams.take())
    assert streaming._streams.taken == 1
    del stream
    assert streaming._streams.taken == 0


def ask(path, user, **headers):
    async def call():
        client = AsyncClient()
        if user is not None:
            await client.aforce_login(user, BACKEND)
        answer = await client.get(path, headers=headers)
        if answer.streaming:
            return answer, b"".join([chunk async for chunk in answer.streaming_content])
        return answer, answer.content

    return async_to_sync(call)()


def test_it_is_served_as_an_event_stream_to_every_member(under_way, viewer):
    change(under_way, state="finished")
    answer, body = ask(f"/api/runs/{under_way.pk}/events", viewer)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/event-stream"
    assert answer.headers["Cache-Control"] == "no-store"
    assert body.startswith(b"retry: ")
    assert b"event: over" in body


def test_nobody_else_may_listen(under_way, stranger):
    path = f"/api/runs/{under_way.pk}/events"
    assert ask(path, stranger)[0].status_code == 404
    assert ask(path, None)[0].status_code == 401
    assert streaming._streams.taken == 0


def test_too_many_listeners_are_told_to_come_back(under_way, owner, monkeypatch):
    monkeypatch.setattr(streaming._streams, "most", 0)
    answer, body = ask(f"/api/runs/{under_way.pk}/events", owner)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "10")
    assert "Too many" in json.loads(body)["error"]
