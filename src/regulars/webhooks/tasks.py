"""What a worker does for webhooks, in a lane of its own: a slow receiver delays no message."""

import asyncio
from datetime import timedelta

import structlog
from django.db import connection
from procrastinate.contrib.django import app

from regulars.lib import sql
from regulars.runs.deferring import WEBHOOKS

log = structlog.get_logger("regulars.webhooks")

_KEPT_FOR = timedelta(days=30)


@app.periodic(cron="* * * * * */5", periodic_id="webhooks")
@app.task(name="regulars.webhooks", queue=WEBHOOKS, queueing_lock="webhooks")
async def tell(timestamp: int) -> None:  # noqa: ARG001 - the task engine gives it
    """Look what is news, and deliver what is due; endpoints side by side."""
    from regulars.webhooks.delivering import aside, deliver

    endpoints = await aside(_gather)()
    for outcome in await asyncio.gather(*map(deliver, endpoints), return_exceptions=True):
        if isinstance(outcome, Exception):
            log.error("telling an endpoint failed", exc_info=outcome)


def _gather() -> list[int]:
    from regulars.webhooks import delivering, gathering

    try:
        now = sql.database_now()
        endpoints = delivering.active_endpoints()
        for endpoint in endpoints:
            gathering.gather(endpoint, now)
    finally:
        connection.close()
    return endpoints


@app.periodic(cron="29 4 * * * 0", periodic_id="forget_webhooks")
@app.task(name="regulars.forget_webhooks", queue=WEBHOOKS, queueing_lock="forget_webhooks")
def forget(timestamp: int) -> None:  # noqa: ARG001 - the task engine gives it
    """Remove deliveries after thirty days."""
    from regulars.webhooks.delivering import forget as forget_before

    try:
        forget_before(sql.database_now() - _KEPT_FOR)
    finally:
        connection.close()
