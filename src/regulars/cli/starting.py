"""Getting ready: the database up, Django loaded, the schema current."""

import contextlib
import gc
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from regulars.automations.models import Automation
    from regulars.organizations.models import Organization


class CommandError(Exception):
    """A problem that the person at the keyboard can solve; the text says how."""


def home() -> Path:
    """The folder of state and secrets."""
    return Path(os.environ.get("REGULARS_HOME") or "var").absolute()


def start_database() -> None:
    """Make sure a database answers: the owner's own (`DATABASE_URL`), else the one that comes along.

    With `DATABASE_URL` nothing embedded is touched.
    """
    if os.environ.get("DATABASE_URL"):
        return
    from regulars import embedded

    try:
        os.environ["REGULARS_EMBEDDED_URL"] = embedded.ensure(home())
    except embedded.EmbeddedError as problem:
        raise CommandError(str(problem)) from problem


def wait_for_database() -> None:
    """For workers: wait while the owner's server does not answer or is still starting.

    A server that answers, and refuses us, is a matter for a person: `start` says so.
    """
    url = os.environ.get("DATABASE_URL")
    if not url:
        return
    from psycopg.conninfo import make_conninfo
    from psycopg.pq import PGconn, Ping

    conninfo = make_conninfo(url, connect_timeout=5).encode()
    pause = 0.5
    while PGconn.ping(conninfo) in (Ping.REJECT, Ping.NO_RESPONSE):
        if pause == 0.5:
            click.echo("The database does not answer; waiting for it", err=True)
        time.sleep(pause)
        pause = min(2 * pause, 5)


def keep_database() -> None:
    """For processes that live long: bring the embedded server back should it or its supervisor die."""
    if os.environ.get("DATABASE_URL"):
        return

    def keep() -> None:
        while True:
            time.sleep(5)
            # The next look says it again; what asks the database meanwhile has errors of its own.
            with contextlib.suppress(CommandError, OSError):
                start_database()

    threading.Thread(target=keep, name="database keeper", daemon=True).start()


def start(*, migrate: bool = True) -> None:
    """Database, Django, and (unless told otherwise) the newest schema."""
    start_database()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "regulars.settings")
    import django

    try:
        with loading():
            django.setup()
    except OSError as problem:
        raise CommandError(
            f"{home()} cannot be written ({problem.strerror}): set REGULARS_HOME to a folder of yours"
        ) from problem
    if migrate:
        _migrate()


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """Modules are loaded here, which stay to the end of the process.

    The garbage collector looks through them neither now nor later, nor when the process ends: that
    would be a third of what a command costs.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _migrate() -> None:
    """Bring the schema up to date; of several starts at once one works and the others wait."""
    import psycopg
    from django.conf import settings
    from django.core.management import call_command
    from django.db import DEFAULT_DB_ALIAS, connections
    from django.db.migrations.executor import MigrationExecutor

    # Any: the version is an attribute of the PostgreSQL backend only.
    connection: Any = connections[DEFAULT_DB_ALIAS]
    try:
        # Not through the pool, which would try for half a minute.
        psycopg.connect(settings.DATABASE_URL, connect_timeout=5).close()
    except psycopg.OperationalError as problem:
        raise CommandError(f"The database does not answer: {problem}".strip()) from problem
    connection.ensure_connection()
    if connection.pg_version < 150_000:
        raise CommandError("PostgreSQL 15 or newer is needed; this server is older")
    executor = MigrationExecutor(connection)
    if not executor.migration_plan(executor.loader.graph.leaf_nodes()):
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(hashtextextended('migrate', 0))")
        try:
            call_command("migrate", verbosity=0, interactive=False)
        finally:
            cursor.execute("SELECT pg_advisory_unlock(hashtextextended('migrate', 0))")


def find_organization(slug: str | None) -> "Organization":
    """The organization called `slug`, or the only one there is."""
    from regulars.organizations.models import Organization

    found = Organization.objects.filter(slug=slug) if slug else Organization.objects.all()
    several = list(found.order_by("slug")[:2])
    if len(several) == 1:
        return several[0]
    if slug:
        raise CommandError(f"There is no organization “{slug}”")
    if several:
        raise CommandError("There are several organizations: say which with --organization SLUG")
    raise CommandError("There is no organization yet: regulars organization create SLUG")


def find_automation(wanted: str) -> "Automation":
    """The automation with this id, or the only one whose name is (or begins with) `wanted`."""
    import uuid

    from regulars.automations.models import Automation

    living = Automation.objects.filter(deleted_at=None).select_related("organization")
    try:
        found: Any = living.filter(pk=uuid.UUID(wanted))
    except ValueError:
        found = living.filter(name__iexact=wanted) or living.filter(name__istartswith=wanted)
    several = list(found[:2])
    if len(several) == 1:
        automation: Automation = several[0]
        return automation
    problem = "Several automations are called" if several else "There is no automation"
    raise CommandError(f"{problem} “{wanted}”. See: regulars automation list")


def note(organization: "Organization", action: str, subject: object = "", **details: Any) -> None:
    """Write into the audit trail what was done at this keyboard, which knows no user."""
    from regulars.lib import clock
    from regulars.organizations import audit

    told = {**details, "via": "command line"}
    audit.record(organization, None, action, now=clock.now(), subject=subject, **told)


organization_option = click.option(
    "--organization", "slug", metavar="SLUG", help="Which organization (not needed when there is one)."
)
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
