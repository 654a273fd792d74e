"""webhook: other programs that are told what becomes of messages and runs."""

import json
from typing import Any

import click

from regulars.cli import starting
from regulars.cli.starting import CommandError, json_option, organization_option


@click.group()
def webhook() -> None:
    """List, add, try and remove webhooks."""


@webhook.command("list")
@organization_option
@json_option
def webhook_list(slug: str | None, as_json: bool) -> None:
    """Whom we tell, of what, and whether it works."""
    starting.start()
    from regulars.webhooks.models import Endpoint

    found = Endpoint.objects.filter(organization=starting.find_organization(slug)).order_by("pk")
    rows = [_row(each) for each in found]
    if as_json:
        click.echo(json.dumps(rows, ensure_ascii=False, indent=2))
        return
    for row in rows:
        click.echo(f"{row['id']:5}  {row['state']}  {row['url']}  {', '.join(row['events'])}")


def _row(endpoint: Any) -> dict[str, Any]:
    shown = {name: getattr(endpoint, name) for name in ("url", "events")}
    return {"id": endpoint.pk} | shown | {"state": _state(endpoint)}


def _state(endpoint: Any) -> str:
    if endpoint.disabled_reason:
        return f"given up ({endpoint.disabled_reason})"
    return "failing" if endpoint.failing_since else "works"


@webhook.command("add")
@click.argument("url")
@click.option("--event", "events", multiple=True, required=True, help="May be repeated; all: every event.")
@organization_option
def webhook_add(url: str, events: tuple[str, ...], slug: str | None) -> None:
    """Tell URL of these events from now on. Its secret goes to stdout, only now."""
    starting.start()
    from regulars.lib import sql
    from regulars.webhooks import endpoints, gathering

    wanted = gathering.EVENTS if "all" in events else events
    organization = starting.find_organization(slug)
    try:
        made, secret = endpoints.create(organization, url, wanted, sql.database_now())
    except endpoints.EndpointError as problem:
        raise CommandError(str(problem)) from problem
    click.echo(f"webhook {made.pk} is told from now on; the secret that verifies our signatures:", err=True)
    click.echo(secret)


@webhook.command("test")
@click.argument("number", type=int)
@organization_option
def webhook_test(number: int, slug: str | None) -> None:
    """Send NUMBER an event that means nothing; the page of webhooks tells how it went."""
    starting.start()
    from regulars.lib import sql
    from regulars.webhooks import endpoints

    endpoints.test(_find(number, slug), sql.database_now())
    click.echo("The test is on its way: a worker sends it within seconds.")


@webhook.command("remove")
@click.argument("number", type=int)
@organization_option
def webhook_remove(number: int, slug: str | None) -> None:
    """Tell NUMBER nothing any more, and forget what it was told."""
    starting.start()
    _find(number, slug).delete()
    click.echo(f"webhook {number} is removed")


def _find(number: int, slug: str | None) -> Any:
    from regulars.webhooks.models import Endpoint

    found = Endpoint.objects.filter(pk=number, organization=starting.find_organization(slug)).first()
    if found is None:
        raise CommandError(f"There is no webhook {number}: see `regulars webhook list`")
    return found
