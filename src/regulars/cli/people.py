"""organization, user, token, provider: who works here, and through whom we send."""

import getpass
import json
import sys
from typing import Any

import click

from regulars.cli import starting
from regulars.cli.starting import CommandError, json_option, organization_option


@click.group()
def organization() -> None:
    """Restaurants and groups."""


@organization.command("create")
@click.argument("slug")
@click.option("--name", help="Its name for people (default: the slug).")
@click.option("--timezone", default="Europe/Madrid", show_default=True)
@click.option(
    "--country", default="ES", show_default=True, help="Two letters; decides national phone numbers."
)
@click.option("--language", default="es", show_default=True)
def organization_create(slug: str, name: str | None, timezone: str, country: str, language: str) -> None:
    """Create an organization called SLUG."""
    starting.start()
    from django.core.exceptions import ValidationError

    from regulars.organizations.people import create_organization

    try:
        made = create_organization(slug, name or slug, timezone, country, language)
    except (ValidationError, ValueError) as problem:
        raise CommandError(_words(problem)) from problem
    click.echo(f"Created organization {made.slug} ({made.timezone})")


@organization.command("change")
@click.argument("slug")
@click.option("--timezone", required=True, help="Its time zone: schedules that are meant in it move along.")
def organization_change(slug: str, timezone: str) -> None:
    """Change the organization SLUG."""
    starting.start()
    from django.core.exceptions import ValidationError

    from regulars.automations import slots
    from regulars.lib import clock

    found = starting.find_organization(slug)
    try:
        slots.change_timezone(found, timezone, clock.now())
    except ValidationError as problem:
        raise CommandError(_words(problem)) from problem
    click.echo(f"{found.slug} is in {found.timezone}")


@organization.command("tact")
@click.argument("slug", required=False)
@click.option("--quiet-hours", "hours", metavar="21:00-10:00", help="Local hours of silence; none: none.")
@click.option(
    "--cap", "caps", multiple=True, metavar="2/7", help="Most messages in so many days; none: no cap."
)
@click.option("--limit", "limits", multiple=True, metavar="sms=50", help="Most a channel may cost a month.")
@click.option("--price", "prices", multiple=True, metavar="ACCOUNT/sms/ES=0.07", help="Of a message (part).")
@click.option("--venue", metavar="NAME", help="Give the hours to this venue only; none: the organization's.")
def organization_tact(
    slug: str | None, hours: str | None, venue: str | None, **lists: tuple[str, ...]
) -> None:
    """How SLUG treats its guests: quiet hours, caps, budget. Shows them as JSON.

    A list that is given replaces the one there was; "none" empties it.
    """
    starting.start()
    from regulars.automations.problems import DefinitionError
    from regulars.automations.tact import tact_of
    from regulars.automations.tact_settings import change_tact

    found = starting.find_organization(slug)
    given: dict[str, Any] = {"quiet_hours": _hours(hours)} if hours and not venue else {}
    try:
        change_tact(found, given | _lists(**lists))
        if venue:
            _venue_hours(found, venue, _hours(hours))
    except DefinitionError as problem:
        raise CommandError(str(problem)) from problem
    if given or venue or any(lists.values()):
        starting.note(found, "organization.changed")
    click.echo(json.dumps(tact_of(found.tact).stored(), indent=2))


def _lists(caps: tuple[str, ...], limits: tuple[str, ...], prices: tuple[str, ...]) -> dict[str, Any]:
    """Those of the lists that were given, in the form of the API."""
    given: dict[str, Any] = {}
    if caps:
        given["caps"] = [
            dict(zip(("messages", "days"), _split(text, "/"), strict=True)) for text in _real(caps)
        ]
    if limits:
        given["monthly_limits"] = dict(_split(text, "=") for text in _real(limits))
    if prices:
        given["prices"] = [_price(text) for text in _real(prices)]
    return given


def _real(texts: tuple[str, ...]) -> list[str]:
    return [text for text in texts if text != "none"]


def _split(text: str, sign: str) -> tuple[str, str]:
    before, _, after = text.rpartition(sign)
    return before, after


def _price(text: str) -> dict[str, str]:
    what, amount = _split(text, "=")
    account, channel, country = (*what.split("/"), "", "")[:3]
    return {"account": account, "channel": channel, "country": country, "amount": amount}


def _venue_hours(found: Any, name: str, hours: dict[str, str] | None) -> None:
    from regulars.automations.tact_settings import parse_quiet_hours
    from regulars.hospitality.venues import set_quiet_hours

    venue = found.venues.filter(name=name).first()
    if venue is None:
        raise CommandError(f"There is no venue “{name}”")
    set_quiet_hours(found, venue.pk, parse_quiet_hours(hours, "quiet_hours"))


def _hours(text: str | None) -> dict[str, str] | None:
    starts, _, ends = (text or "none").partition("-")
    return None if starts == "none" else {"from": starts.strip(), "until": ends.strip()}


@organization.command("remove")
@click.argument("slug")
@click.option("--yes", is_flag=True, help="Do not ask for the name again.")
def organization_remove(slug: str, yes: bool) -> None:
    """Stop all that SLUG is doing, and remove it with every row that belongs to it, for ever.

    Its proof of consent goes too: write a backup first where the law wants it kept. People who sign
    in stay, without their membership. If it is interrupted, call it again.
    """
    starting.start()
    from regulars.lib import clock
    from regulars.runs import engine

    found = starting.find_organization(slug)
    if not yes:
        typed = click.prompt(f"This removes {found.name} with its guests and messages. Type {slug} to go on")
        if typed.strip() != slug:
            raise CommandError("Nothing was removed")
    removed = engine.remove_organization(found, clock.now())
    click.echo(f"Removed {slug}: {removed['customers']} guests, {removed['messages']} messages")


@click.group()
def user() -> None:
    """People who sign in."""


@user.command("create")
@click.argument("email")
@click.option("--role", type=click.Choice(["owner", "manager", "staff", "viewer"]), required=True)
@organization_option
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
def user_create(email: str, role: str, slug: str | None, password_stdin: bool) -> None:
    """Create a user who signs in with EMAIL."""
    starting.start()
    from django.core.exceptions import ValidationError

    from regulars.organizations.people import create_user

    password = sys.stdin.readline().rstrip("\n") if password_stdin else getpass.getpass()
    try:
        made = create_user(email, password, role, starting.find_organization(slug))
    except (ValidationError, ValueError) as problem:
        raise CommandError(_words(problem)) from problem
    starting.note(starting.find_organization(slug), "user.created", made.pk, role=role)
    click.echo(f"Created user {made.email} ({role})")


@click.group()
def token() -> None:
    """Keys for programs."""


@token.command("create")
@click.argument("email")
@organization_option
@click.option("--name", default="", help="What it is for.")
def token_create(email: str, slug: str | None, name: str) -> None:
    """Create an API token that acts as the user EMAIL. It is shown once."""
    starting.start()
    from regulars.organizations import tokens
    from regulars.organizations.models import User

    owner = User.objects.filter(email=email.lower()).first()
    if owner is None:
        raise CommandError(f"There is no user {email}: regulars user create {email} --role manager")
    found = starting.find_organization(slug)
    made = tokens.create(owner, found, name)
    starting.note(found, "token.created", owner.pk, name=name)
    click.echo(made)


@click.group()
def provider() -> None:
    """The accounts through which messages leave."""


def _limit_options(command: Any) -> Any:
    """`--per-second`, `--per-minute`, `--per-day`: whole numbers, or `none` to lift a limit."""
    words = "Most different WhatsApp guests in 24 hours, all accounts of one business; none: no limit."
    command = click.option("--recipients-per-day", type=_LIMIT, help=words)(command)
    for unit in ("day", "minute", "second"):
        words = f"Most messages a {unit}, all workers together; none: no limit."
        command = click.option(f"--per-{unit}", type=_LIMIT, help=words)(command)
    return command


class _Limit(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic in newer versions only
    """A positive whole number, or `none`."""

    name = "number"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        if value == "none":
            return NO_LIMIT
        if not str(value).isdigit() or int(value) < 1:
            self.fail(f"{value} is not a whole number above 0 (nor “none”).", param, ctx)
        return int(value)


# Not None, which is what click gives for an option that was not used.
NO_LIMIT = 0
_LIMIT = _Limit()


@provider.command("add")
@click.argument("name")
@click.option("--kind", required=True, help="Whose account it is: one of those below.")
@organization_option
@click.option("-o", "options", multiple=True, metavar="KEY=VALUE", help="An option of the account.")
@_limit_options
def provider_add(
    name: str, kind: str, slug: str | None, options: tuple[str, ...], **limits: int | None
) -> None:
    """Add an account called NAME.

    \b
    smtp     host port security(none|starttls|tls) username password from_address
    twilio   account_sid auth_token from whatsapp_from base_url
    meta     access_token phone_number_id business_account_id portfolio_id
             marketing_endpoint(messages|marketing_messages) base_url
    brevo    api_key from_address from_name sms_sender whatsapp_sender
    ses      access_key_id secret_access_key region from_address configuration_set
    postmark server_token from_address    mailgun  api_key domain from_address
    resend   api_key from_address         sandbox  reject_share throttle_share delay_ms

    Passwords given here are visible in the shell's history; "-o password=-" asks for it instead.
    """
    starting.start()
    from regulars.automations.accounts import NO_LIMITS, AccountError, create_account

    wanted = NO_LIMITS.changed(**_given(limits))
    try:
        organization = starting.find_organization(slug)
        made = create_account(organization, name, kind, read_options(options), limits=wanted)
    except AccountError as problem:
        raise CommandError(_words(problem)) from problem
    starting.note(organization, "provider.created", made.pk, kind=made.kind)
    click.echo(f"Added {made.kind} account {made.name} for {', '.join(made.channels)}")


@provider.command("change")
@click.argument("name")
@organization_option
@click.option("--name", "new_name", help="Another name.")
@click.option("--channel", "channels", multiple=True, help="The channels that it is used for.")
@click.option("-o", "options", multiple=True, metavar="KEY=VALUE", help="Another value of an option.")
@_limit_options
def provider_change(
    name: str,
    slug: str | None,
    new_name: str | None,
    channels: tuple[str, ...],
    options: tuple[str, ...],
    **limits: int | None,
) -> None:
    """Change the account called NAME: only what is given. It counts as working again."""
    starting.start()
    from regulars.automations.accounts import AccountError, change_account, limits_of, public_options

    account = _account(name, slug)
    changed = public_options(account) | read_options(options) if options else None
    wanted = limits_of(account).changed(**_given(limits))
    try:
        change_account(
            account, name=new_name, options=changed, channels=list(channels) or None, limits=wanted
        )
    except AccountError as problem:
        raise CommandError(_words(problem)) from problem
    starting.note(account.organization, "provider.changed", account.pk, kind=account.kind)
    click.echo(_account_line(account))


@provider.command("sync")
@click.argument("name")
@organization_option
@json_option
def provider_sync(name: str, slug: str | None, as_json: bool) -> None:
    """Copy the WhatsApp templates that the provider of account NAME keeps, with their approval."""
    starting.start()
    from regulars.automations.template_sync import TemplatesUnavailableError, synchronise
    from regulars.lib import clock

    try:
        found = synchronise(_account(name, slug), clock.now())
    except TemplatesUnavailableError as problem:
        raise CommandError(str(problem)) from problem
    if as_json:
        click.echo(json.dumps(found.document(), ensure_ascii=False, indent=2))
    else:
        click.echo("\n".join(found.lines()))


@provider.command("test")
@click.argument("name")
@organization_option
def provider_test(name: str, slug: str | None) -> None:
    """Ask the provider whether the account called NAME can be used. Sends nothing to anybody."""
    starting.start()
    from regulars.automations.account_checks import check_account
    from regulars.automations.accounts import AccountError
    from regulars.lib.secret_box import SecretUnreadableError

    try:
        found = check_account(_account(name, slug))
    except (AccountError, SecretUnreadableError) as problem:
        raise CommandError(_words(problem)) from problem
    if found is not None and not found.works:
        raise CommandError(found.words)
    click.echo(found.words if found else "This provider cannot be asked without sending something.")


def _account(name: str, slug: str | None) -> Any:
    account = starting.find_organization(slug).accounts.filter(name=name).first()
    if account is None:
        raise CommandError(f"There is no account “{name}”. See: regulars provider list")
    return account


@provider.command("list")
@organization_option
@json_option
def provider_list(slug: str | None, as_json: bool) -> None:
    """The accounts in the order in which they are tried, with their limits and what is wrong."""
    starting.start()
    accounts = starting.find_organization(slug).accounts.order_by("position", "pk")
    if not as_json:
        for account in accounts:
            click.echo(_account_line(account))
        return
    limits = "per_second per_minute per_day recipients_per_day told_recipients_per_day"
    names = f"id name kind channels {limits} position broken_reason"
    rows = [{name: getattr(account, name) for name in names.split()} for account in accounts]
    click.echo(json.dumps(rows, ensure_ascii=False, indent=2))


def _given(limits: dict[str, int | None]) -> dict[str, int | None]:
    """The limits that were named on the command line; lifted ones as None."""
    return {name: value or None for name, value in limits.items() if value is not None}


def _account_line(account: Any) -> str:
    units = ("second", "minute", "day")
    limits = [f"{most} a {unit}" for unit in units if (most := getattr(account, f"per_{unit}"))]
    if (guests := account.most_recipients_per_day) is not None:
        limits.append(f"{guests} guests in 24 hours")
    parts = [account.name, account.kind, ", ".join(account.channels), ", ".join(limits) or "no limit"]
    return "  ".join([*parts, f"BROKEN: {account.broken_reason}"] if account.broken_reason else parts)


def read_options(pairs: tuple[str, ...]) -> dict[str, str]:
    """`KEY=VALUE` pairs by key; a value of `-` is asked for, so that no shell remembers it."""
    if bad := [pair for pair in pairs if "=" not in pair]:
        raise CommandError(f"-o takes KEY=VALUE, not {bad[0]}")
    options = dict(pair.split("=", 1) for pair in pairs)
    return {key: getpass.getpass(f"{key}: ") if value == "-" else value for key, value in options.items()}


def _words(problem: Exception) -> str:
    messages = getattr(problem, "messages", None)
    return "; ".join(messages) if messages else str(problem)
