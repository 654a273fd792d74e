"""One timer for many waits: each ends when its own time is over, and nobody else's."""

import asyncio

import pytest

from regulars.lib.time_limit import TimeLimit

BRIEF = 0.01


def test_a_wait_that_ends_in_time_goes_on_and_one_that_does_not_is_cut():
    async def scenario():
        limit = TimeLimit(BRIEF)
        with limit.begin():
            await asyncio.sleep(0)
        with pytest.raises(TimeoutError), limit.begin():
            await asyncio.Event().wait()
        # The task itself is as before.
        await asyncio.sleep(0)
        assert asyncio.current_task().cancelling() == 0

    asyncio.run(scenario())


def test_each_of_many_waits_is_cut_after_its_own_time():
    async def waits(limit, ended):
        begun = asyncio.get_running_loop().time()
        try:
            with limit.begin():
                await ended.wait()
        except TimeoutError:
            assert asyncio.get_running_loop().time() - begun >= BRIEF
            return "cut"
        return "ended"

    async def scenario():
        limit, ended = TimeLimit(BRIEF), asyncio.Event()
        ended.set()
        never = asyncio.Event()
        first = [asyncio.create_task(waits(limit, event)) for event in (ended, never, ended, never)]
        await asyncio.sleep(BRIEF / 2)
        second = [asyncio.create_task(waits(limit, event)) for event in (never, ended)]
        return await asyncio.gather(*first, *second)

    assert asyncio.run(scenario()) == ["ended", "cut", "ended", "cut", "cut", "ended"]


def test_a_cancellation_from_outside_stays_one():
    async def scenario():
        limit = TimeLimit(60)

        async def wait():
            with limit.begin():
                await asyncio.Event().wait()

        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scenario())


def test_an_outer_limit_that_ends_first_is_the_one_that_counts():
    async def within():
        with TimeLimit(60).begin():
            await asyncio.Event().wait()

    async def scenario():
        with pytest.raises(TimeoutError), TimeLimit(BRIEF).begin():
            await within()

    asyncio.run(scenario())
