"""A provider that is told what to answer, and runs that are planned and sent as the tasks would."""

import asyncio
from datetime import timedelta

from regulars.lib import async_database
from regulars.providers.base import Connection, Options, Outcome, Provider, Verdict
from regulars.runs import engine, planning, preparing, sending, statements
from regulars.runs.models import Run


class Scripted(Provider):
    """Answers as `answers` says for an address, accepts everybody else, and remembers all calls."""

    kind = "sandbox"
    label = "Scripted"
    channels = ("whatsapp", "sms", "email")
    options = Options
    request_timeout = timedelta(seconds=1)

    def __init__(self):
        self.calls = []
        self.answers = {}

    async def connect(self, options, outbox):
        return ScriptedConnection(self)


class ScriptedConnection(Connection):
    def __init__(self, provider):
        self.provider = provider

    async def send(self, batch):
        return [await self.one(message) for message in batch]

    async def one(self, message):
        self.provider.calls.append(message)
        answer = self.provider.answers.get(message.address)
        if callable(answer):
            answer = answer(message)
        if asyncio.iscoroutine(answer):
            answer = await answer
        return answer or Outcome(Verdict.ACCEPTED, provider_id=f"id-{message.message_id}")


def planned(automation, now):
    run = engine.start(automation, now=now)
    planning.plan(str(run.pk), now)
    return Run.objects.get(pk=run.pk)


def send_all(run, now, *, stopping=lambda: False, once=False):
    """Send every chunk, as tasks would, and finish the run if it is over."""

    async def turns(database, work):
        """As the task does: come back while something is due, for a turn has an end."""
        more = True
        while more:
            left = await sending.send_chunk(database, work, stopping=stopping, now=lambda: now)
            more = left and not (once or stopping() or left["closed"]) and left["next_due"] <= now

    async def send(works):
        database = await async_database.connect()
        try:
            for work in works:
                await turns(database, work)
            await database.execute(statements.FINISH, {"run": run.pk, "now": now})
        finally:
            await database.close()

    works = [preparing.prepare(pk, now) for pk in run.chunks.values_list("pk", flat=True)]
    asyncio.run(send(works))
    run.refresh_from_db()
