"""doctor, manage: looking after it."""

import os
from collections.abc import Callable
from typing import Any

import click

from regulars.cli import starting
from regulars.cli.starting import CommandError


@click.command()
def doctor() -> None:
    """Look at everything that this installation needs, and say what to do about what is missing."""
    starting.start(migrate=False)
    problems = 0
    for name, check in _CHECKS:
        try:
            click.echo(f"ok       {name}: {check()}")
        except Exception as problem:  # noqa: BLE001 - the doctor reports whatever is wrong
            problems += 1
            click.echo(f"PROBLEM  {name}: {problem}")
    if problems:
        raise CommandError(f"{problems} problem{'s' if problems > 1 else ''} found")


def _database() -> str:
    from django.db import DEFAULT_DB_ALIAS, connections

    # Any: the version is an attribute of the PostgreSQL backend only.
    connection: Any = connections[DEFAULT_DB_ALIAS]
    connection.ensure_connection()
    version = connection.pg_version
    where = "your own" if os.environ.get("DATABASE_URL") else f"embedded, in {starting.home()}"
    return f"PostgreSQL {version // 10000}.{version % 10000} ({where})"


def _durability() -> str:
    from regulars.lib import durability, sql

    if off := [row["name"] for row in sql.fetch_rows(durability.QUERY, {})]:
        raise CommandError(durability.in_words(off))
    return "what is committed survives a crash"


def _schema() -> str:
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if missing:
        raise CommandError(f"{len(missing)} migrations are missing: regulars manage migrate")
    return "current"


def _worker() -> str:
    from regulars.runs import engine

    if not engine.worker_alive():
        raise CommandError("no worker lives, so nothing is sent: regulars up, or regulars worker")
    return "alive"


def _accounts() -> str:
    from regulars.automations.models import ProviderAccount

    broken = ProviderAccount.objects.exclude(broken_reason="").first()
    if broken is not None:
        raise CommandError(f"{broken.name} is broken: {broken.broken_reason}")
    return f"{ProviderAccount.objects.count()} provider accounts"


def _cron() -> str:
    from django.conf import settings

    return "CRON_SECRET is set" if settings.CRON_SECRET else "not used (CRON_SECRET is not set)"


def _unknown() -> str:
    from regulars.runs.models import Message

    number = Message.objects.filter(state="unknown").count()
    return f"{number} messages with an unknown outcome wait for a decision"


def _messages() -> str:
    from regulars.lib import clock
    from regulars.runs import partitions

    tables = partitions.storage()
    messages, size = sum(table.messages for table in tables), sum(table.size for table in tables)
    coming = partitions.month_of(clock.now()) + 1
    if coming not in partitions.months():
        name = partitions.name_of(coming)
        raise CommandError(f"no table {name} yet for next month: start a worker, or regulars purge --dry-run")
    months = f"{len(tables)} tables, one a month"
    if not messages:
        return f"none in {months}"
    return (
        f"about {messages} in {months}, {size / 1_000_000:.1f} MB, {size // messages} bytes each with indexes"
    )


def _callbacks() -> str:
    from datetime import timedelta

    from regulars.automations import callback_access
    from regulars.automations.models import ProviderAccount
    from regulars.callbacks.models import Callback
    from regulars.lib import sql

    late = Callback.objects.filter(due_at__lt=sql.database_now() - timedelta(minutes=10)).count()
    if late:
        raise CommandError(f"{late} wait to be applied for ten minutes and more: start a worker")
    accounts = ProviderAccount.objects.select_related("callback_access", "organization")
    called = [account for account in accounts if callback_access.address_of(account)]
    for account in called:
        if missing := callback_access.missing(account):
            names, command = ", ".join(missing), f"regulars provider callbacks {account.name}"
            raise CommandError(f"those of {account.name} are refused without {names}: {command}")
    return f"{len(called)} accounts can be called back"


def _ledger() -> str:
    from regulars.runs.invariants import violations

    if found := violations():
        raise CommandError("; ".join(f"not true {number} times: {what}" for what, number in found.items()))
    return "every invariant holds"


_CHECKS: tuple[tuple[str, Callable[[], str]], ...] = (
    ("database", _database),
    ("durability", _durability),
    ("schema", _schema),
    ("worker", _worker),
    ("accounts", _accounts),
    ("cron", _cron),
    ("unknowns", _unknown),
    ("messages", _messages),
    ("callbacks", _callbacks),
    ("ledger", _ledger),
)


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def manage(arguments: tuple[str, ...]) -> None:
    """Django's own management commands (migrate, shell, ...)."""
    starting.start(migrate=False)
    from django.core.management import execute_from_command_line

    execute_from_command_line(["regulars manage", *arguments])
