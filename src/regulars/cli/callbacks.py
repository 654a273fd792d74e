"""provider callbacks: where a provider calls about an account, and what that needs."""

import json
from typing import Any

import click

from regulars.cli import starting
from regulars.cli.people import provider, read_options
from regulars.cli.starting import CommandError, json_option, organization_option


@provider.command("callbacks")
@click.argument("name")
@organization_option
@click.option("-o", "options", multiple=True, metavar="KEY=VALUE", help="A secret; KEY= takes it away.")
@click.option("--tracking/--no-tracking", default=None, help="Write down opens and clicks.")
@click.option("--confirms/--no-confirms", default=None, help="Confirm a guest's stop or start, once.")
@click.option("--stop-word", "words", multiple=True, help="Another word that stops marketing.")
@click.option("--renew", is_flag=True, help="Another address and password; the old ones stop working.")
@json_option
def provider_callbacks(
    name: str,
    slug: str | None,
    options: tuple[str, ...],
    words: tuple[str, ...],
    renew: bool,
    as_json: bool,
    **flags: bool | None,
) -> None:
    """Where the provider of the account NAME calls, and what is still missing.

    \b
    meta      app_secret verify_token
    mailgun   webhook_signing_key
    resend    webhook_secret
    ses       topic_arn
    twilio    shared_key (only where a webhook rule signs with one)

    Secrets given here are visible in the shell's history; "-o app_secret=-" asks for it instead.
    """
    starting.start()
    from regulars.automations import callback_access
    from regulars.automations.callback_access import CallbackSettingError

    account = starting.find_organization(slug).accounts.filter(name=name).first()
    if account is None:
        raise CommandError(f"There is no account “{name}”. See: regulars provider list")
    given: dict[str, Any] = {"stop_words": words or None, **flags}
    given["secrets"] = read_options(options) if options else None
    try:
        if any(value is not None for value in given.values()):
            callback_access.configure(account, **given)
    except CallbackSettingError as problem:
        raise CommandError(str(problem)) from problem
    if renew:
        callback_access.renew(account)
    _show(account, as_json=as_json)


def _show(account: Any, *, as_json: bool) -> None:
    from regulars.automations import callback_access
    from regulars.providers import callbacks

    handler = callbacks.handler(account.kind)
    if handler is None:
        raise CommandError(f"{account.kind} calls nobody back")
    address, missing = callback_access.address_of(account), callback_access.missing(account)
    if as_json:
        shown = {"address": address, "path": callback_access.path_of(account)}
        shown["password"] = callback_access.password_of(account)
        click.echo(json.dumps(shown | {"missing": missing}, ensure_ascii=False, indent=2))
        return
    click.echo(f"Address   {address or 'set REGULARS_PUBLIC_URL first: ' + callback_access.path_of(account)}")
    click.echo(f"Password  {callback_access.password_of(account)}")
    click.echo(f"Enter at  {handler.where}")
    for secret, where in missing.items():
        click.echo(f"Missing   -o {secret}=…  ({where})")
