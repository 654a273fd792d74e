"""organization, user, token, provider: who works here, and through whom we send."""

import getpass
import sys

import click

from regulars.cli import starting
from regulars.cli.starting import CommandError, organization_option


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
    click.echo(tokens.create(owner, starting.find_organization(slug), name))


@click.group()
def provider() -> None:
    """The accounts through which messages leave."""


@provider.command("add")
@click.argument("name")
@click.option("--kind", required=True, help="sandbox, smtp, twilio")
@organization_option
@click.option("-o", "options", multiple=True, metavar="KEY=VALUE", help="An option of the account.")
def provider_add(name: str, kind: str, slug: str | None, options: tuple[str, ...]) -> None:
    """Add an account called NAME.

    \b
    smtp     host port security(none|starttls|tls) username password from_address
    twilio   account_sid auth_token from base_url
    sandbox  reject_share throttle_share delay_ms

    Passwords given here are visible in the shell's history; "-o password=-" asks for it instead.
    """
    starting.start()
    from regulars.automations.accounts import AccountError, create_account

    try:
        made = create_account(starting.find_organization(slug), name, kind, _options(options))
    except AccountError as problem:
        raise CommandError(_words(problem)) from problem
    click.echo(f"Added {made.kind} account {made.name} for {', '.join(made.channels)}")


def _options(pairs: tuple[str, ...]) -> dict[str, str]:
    if bad := [pair for pair in pairs if "=" not in pair]:
        raise CommandError(f"-o takes KEY=VALUE, not {bad[0]}")
    options = dict(pair.split("=", 1) for pair in pairs)
    return {key: getpass.getpass(f"{key}: ") if value == "-" else value for key, value in options.items()}


def _words(problem: Exception) -> str:
    messages = getattr(problem, "messages", None)
    return "; ".join(messages) if messages else str(problem)
