"""A planner that died is missed within seconds, also where the database was hard to reach meanwhile."""

from datetime import timedelta

import pytest
from procrastinate.contrib.django.models import ProcrastinateJob
from procrastinate.jobs import Job

from regulars.lib import clock
from regulars.runs import engine, sweeping, tasks
from regulars.runs.models import RunState

pytestmark = pytest.mark.django_db


@pytest.fixture
def abandoned(lapsed, make_automation, now):
    """A run whose job was taken by a planner that was killed: no job waits any more."""
    lapsed()
    run = engine.start(make_automation(), now=now)
    ProcrastinateJob.objects.all().delete()
    return run


def asked_for(run):
    return ProcrastinateJob.objects.filter(queueing_lock=f"plan:{run.pk}").count()


def test_a_planner_that_was_killed_is_missed_after_two_seconds(abandoned, now):
    sweeping.sweep(now + timedelta(seconds=1))
    assert asked_for(abandoned) == 0
    sweeping.sweep(now + timedelta(seconds=2.1))
    sweeping.sweep(now + timedelta(seconds=4.1))
    assert asked_for(abandoned) == 1


def test_a_run_that_is_planned_is_not_asked_for_again(abandoned, now):
    abandoned.state = RunState.SENDING
    abandoned.save()
    sweeping.sweep(now + timedelta(minutes=1))
    assert asked_for(abandoned) == 0


@pytest.mark.parametrize("task", [tasks.plan_run, tasks.send_chunk], ids=lambda task: task.name)
@pytest.mark.parametrize("attempts", range(5))
def test_what_failed_for_want_of_the_database_is_tried_again_within_two_seconds(task, attempts):
    job = Job(id=1, queue="plan", lock=None, queueing_lock=None, task_name=task.name, attempts=attempts)
    decision = task.retry_strategy.get_retry_decision(exception=OSError(), job=job)
    assert decision.retry_at <= clock.now() + timedelta(seconds=2)
