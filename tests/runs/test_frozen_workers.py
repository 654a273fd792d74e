"""A worker that stands still (a suspended machine) keeps nothing that others need."""

import asyncio

import pytest
from django.db import connections
from psycopg.pq import TransactionStatus

from regulars.lib import async_database
from regulars.runs import worker

pytestmark = pytest.mark.django_db(transaction=True)

# As the task engine defers: of two at once for the same lock the second waits until the first is committed.
DEFER = """
INSERT INTO procrastinate_jobs (task_name, queue_name, queueing_lock, status)
VALUES ('regulars.sweep', 'housekeeping', 'frozen', 'todo')
"""

COUNT = "SELECT count(*) AS number FROM procrastinate_jobs WHERE queueing_lock = 'frozen'"


def test_what_it_was_just_asked_of_the_task_engine_keeps_nobody_waiting():
    async def stand_still_after_asking():
        async with worker._pool() as pool, pool.connection() as frozen:
            await frozen.execute(DEFER)
            assert frozen.info.transaction_status == TransactionStatus.IDLE
            other = await async_database.connect(patience=5)
            try:
                found = await other.execute(COUNT)
                assert (await found.fetchone())["number"] == 1
                await other.execute(DEFER + "ON CONFLICT DO NOTHING")
            finally:
                await other.close()

    asyncio.run(stand_still_after_asking())
    with connections["default"].cursor() as cursor:
        cursor.execute("DELETE FROM procrastinate_jobs WHERE queueing_lock = 'frozen'")
