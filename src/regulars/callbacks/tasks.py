"""What a worker does for callbacks, in a lane of its own: a guest who says stop waits for no large run."""

import time
from datetime import timedelta

import structlog
from django.db import connection
from procrastinate.contrib.django import app

from regulars.lib import sql
from regulars.runs.deferring import CALLBACKS, apply_callbacks_job, defer

log = structlog.get_logger("regulars.callbacks")

# Raw requests are kept so long after they were applied; what never could be, at most so long.
KEPT_FOR = timedelta(days=14)
KEPT_AT_MOST = timedelta(days=30)
# What people write who are in no guest book: long enough to find out who they are.
STRANGERS_KEPT_FOR = timedelta(days=90)
# A turn; then the lane is free for the next job, which asks for the rest.
_TURN_SECONDS = 20.0


@app.periodic(cron="* * * * * */5", periodic_id="apply_callbacks")
@app.task(name="regulars.apply_callbacks", queue=CALLBACKS, queueing_lock="apply_callbacks")
async def apply(timestamp: int) -> None:  # noqa: ARG001 - the task engine gives it
    """Apply what is due, then send the confirmations that wait."""
    from regulars.callbacks import replying

    await replying.aside(_apply)()
    await replying.send_waiting()


def _apply() -> None:
    from regulars.callbacks import applying

    ends = time.monotonic() + _TURN_SECONDS
    while applying.apply_due(sql.database_now()).number:
        if time.monotonic() > ends:
            defer([apply_callbacks_job()])
            return


@app.periodic(cron="51 4 * * * 0", periodic_id="forget_callbacks")
@app.task(name="regulars.forget_callbacks", queue=CALLBACKS, queueing_lock="forget_callbacks")
def forget(timestamp: int) -> None:  # noqa: ARG001 - the task engine gives it
    """Remove raw requests after two weeks, and the texts of strangers after three months."""
    from regulars.callbacks import applying, inbound

    try:
        now = sql.database_now()
        if number := applying.forget(now - KEPT_FOR, now - KEPT_AT_MOST):
            log.info("old callbacks removed", number=number)
        if number := inbound.forget_strangers(now - STRANGERS_KEPT_FOR):
            log.info("old texts of strangers removed", number=number)
    finally:
        connection.close()
