"""The owner's access to providers: options checked by the provider's own model, secrets sealed.

A demo organization can use nothing but the sandbox: refused when an account is made, and again
each time its options are opened, so that a row put there by other means cannot send either.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Max, Q
from pydantic import SecretStr, ValidationError

from regulars.automations.models import ProviderAccount
from regulars.automations.problems import Problem, from_pydantic, listed, suggestion
from regulars.lib import secret_box
from regulars.organizations.models import Organization
from regulars.providers import registry
from regulars.providers.base import Options, Provider

# What is shown, and accepted back unchanged, in place of a secret that is set.
MASK = "••••••"
DEMO_KIND = "sandbox"
MOST = 2_147_483_647


@dataclass(frozen=True, slots=True)
class Limits:
    """The most messages that may leave through an account, over all workers; None: no limit.

    `recipients_per_day`: the most different guests in any 24 hours, over all accounts of one portfolio.
    """

    per_second: int | None = None
    per_minute: int | None = None
    per_day: int | None = None
    recipients_per_day: int | None = None

    def changed(self, **values: int | None) -> "Limits":
        """These limits with some of them replaced."""
        return replace(self, **values)


NO_LIMITS = Limits()


class AccountError(ValueError):
    """The account cannot be made or used; `details` lists every fault with its path."""

    def __init__(self, details: list[Problem]) -> None:
        super().__init__(" ".join(_line(item) for item in details))
        self.details = details


def _line(item: Problem) -> str:
    name = item["path"].removeprefix("options.")
    return item["problem"] if name in ("name", "kind", "channels") else f"{name}: {item['problem']}"


def _fault(path: str, problem: str) -> AccountError:
    return AccountError([Problem(path=path, problem=problem)])


def create_account(
    organization: Organization,
    name: str,
    kind: str,
    options: dict[str, Any],
    channels: Sequence[str] | None = None,
    limits: Limits = NO_LIMITS,
) -> ProviderAccount:
    """Make an account of the provider `kind`; all of its channels unless `channels` names some.

    A new account comes last for its channels.

    Raises:
        AccountError: a wrong name, kind, channel, option or limit; a real provider for a demo.
    """
    provider = _provider(kind)
    _refuse_real_provider_in_demo(organization, kind)
    checked = _validated(provider, options)
    public, secret = _split(checked)
    last = organization.accounts.aggregate(last=Max("position"))["last"]
    account = ProviderAccount(
        organization=organization,
        name=_checked_name(name),
        kind=kind,
        channels=_checked_channels(provider, channels, checked),
        options=public,
        portfolio=provider.portfolio_of(checked),
        sealed_secrets=_sealed(secret),
        position=0 if last is None else last + 1,
        **asdict(_checked_limits(limits)),
    )
    return _saved(account)


def change_account(
    account: ProviderAccount,
    *,
    name: str | None = None,
    options: dict[str, Any] | None = None,
    channels: Sequence[str] | None = None,
    limits: Limits | None = None,
) -> ProviderAccount:
    """Change what is given. `options` replaces all; a secret left out, or as shown, stays.

    The account counts as working again until a provider says otherwise.

    Raises:
        AccountError: as `create_account`.
    """
    provider = _provider(account.kind)
    _refuse_real_provider_in_demo(account.organization, account.kind)
    if name is not None:
        account.name = _checked_name(name)
    if options is not None:
        checked = _validated(provider, _with_kept_secrets(provider, account, options))
        account.options, secret = _split(checked)
        account.sealed_secrets = _sealed(secret)
        account.portfolio = provider.portfolio_of(checked)
        account.channels = [way for way in account.channels if way in provider.channels_of(checked)]
    if channels is not None or not account.channels:
        account.channels = _checked_channels(provider, channels, options_of(account))
    for limit, value in asdict(_checked_limits(limits or limits_of(account))).items():
        setattr(account, limit, value)
    account.broken_reason = ""
    return _saved(account, _CHANGEABLE)


_CHANGEABLE = [
    *("name", "channels", "options", "sealed_secrets", "portfolio", "broken_reason"),
    *("per_second", "per_minute", "per_day", "recipients_per_day"),
]


def limits_of(account: ProviderAccount) -> Limits:
    """What may leave through the account at most."""
    return Limits(account.per_second, account.per_minute, account.per_day, account.recipients_per_day)


def options_of(account: ProviderAccount) -> Options:
    """The account's options with their secrets, as the provider's own model.

    Raises:
        AccountError: the options no longer fit, or a demo organization and a real provider.
        SecretUnreadableError: the secrets were sealed with another SECRET_KEY.
    """
    _refuse_real_provider_in_demo(account.organization, account.kind)
    stored: dict[str, Any] = account.options
    return _validated(_provider(account.kind), stored | _secrets(account))


def public_options(account: ProviderAccount) -> dict[str, Any]:
    """The options for showing: a secret that is set appears as `MASK`, never its text."""
    shown: dict[str, Any] = account.options
    return shown | dict.fromkeys(_secrets(account), MASK)


def limits_from(texts: Mapping[str, str]) -> Limits:
    """Limits as people write them into a form, by name; an empty one is no limit.

    Raises:
        AccountError: something else than a whole number; each such limit is named.
    """
    entered = {name: text.strip() for name, text in texts.items() if text.strip()}
    if wrong := [name for name, text in entered.items() if not _is_whole(text)]:
        raise AccountError([_limit_problem(name, entered[name]) for name in wrong])
    return NO_LIMITS.changed(**{name: int(text) for name, text in entered.items()})


def providers_for(organization: Organization) -> list[Provider]:
    """The kinds of which the organization may have an account, in the order in which they are offered."""
    if organization.is_demo:
        return [registry.get(DEMO_KIND)]
    return registry.all_providers()


def secret_names(provider: Provider) -> list[str]:
    """The names of the provider's options that are secrets."""
    return _secret_names(provider.options)


def secrets_set(account: ProviderAccount) -> list[str]:
    """The names of the account's secrets that have a value.

    Raises:
        SecretUnreadableError: they were sealed with another SECRET_KEY.
    """
    return list(_secrets(account))


def portfolios(organization: Organization) -> list[str]:
    """The businesses that the organization's accounts belong to, where their provider knows such."""
    rows = organization.accounts.exclude(portfolio="")
    return list(rows.values_list("portfolio", flat=True).distinct())


def accounts_by_channel(organization: Organization) -> dict[str, ProviderAccount]:
    """The account that each channel uses: the first by position that works.

    A broken one only where there is no other: its run pauses and says what is wrong with it.
    """
    accounts = organization.accounts.annotate(broken=~Q(broken_reason="")).order_by(
        "broken", "position", "pk"
    )
    if organization.is_demo:
        accounts = accounts.filter(kind=DEMO_KIND)
    chosen: dict[str, ProviderAccount] = {}
    for account in accounts:
        for channel in account.channels:
            chosen.setdefault(channel, account)
    return chosen


def _provider(kind: str) -> Provider:
    kinds = registry.kinds()
    if kind not in kinds:
        hint = suggestion(kind, kinds)
        raise _fault("kind", f"There is no provider “{kind}”.{hint} Known providers: {listed(kinds)}.")
    try:
        return registry.get(kind)
    except registry.BrokenProviderError as error:
        raise _fault("kind", str(error)) from error


def _refuse_real_provider_in_demo(organization: Organization, kind: str) -> None:
    if organization.is_demo and kind != DEMO_KIND:
        raise _fault(
            "kind",
            "A demo organization can only use the sandbox: its guests are made up. "
            "Create an organization of your own to send real messages.",
        )


def _checked_name(name: str) -> str:
    name = name.strip()
    if not name or len(name) > 100:
        raise _fault("name", "An account needs a name of at most 100 characters.")
    return name


def _checked_channels(provider: Provider, channels: Sequence[str] | None, options: Options) -> list[str]:
    usable = provider.channels_of(options)
    if channels is None:
        return list(usable)
    if not channels:
        raise _fault("channels", f"Choose at least one channel: {listed(usable)}.")
    for channel in channels:
        if channel not in usable:
            hint = " with these options" if channel in provider.channels else ""
            raise _fault(
                "channels", f"{provider.label} cannot send by “{channel}”{hint}. It can: {listed(usable)}."
            )
    return list(dict.fromkeys(channels))


def _checked_limits(limits: Limits) -> Limits:
    for name, value in asdict(limits).items():
        if value is not None and not 1 <= value <= MOST:
            raise AccountError([_limit_problem(name, value)])
    return limits


def _limit_problem(name: str, value: int | str) -> Problem:
    words = f"Give a whole number from 1 to {MOST:,}, or nothing for no limit; not {value}."
    return Problem(path=name, problem=words)


def _is_whole(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= len(str(MOST))


def _names(model: type[Options]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _validated(provider: Provider, options: dict[str, Any]) -> Options:
    try:
        return provider.options.model_validate(options)
    except ValidationError as error:
        names = _names(provider.options)
        raise AccountError(from_pydantic(error, names, "options")) from None


def _split(options: Options) -> tuple[dict[str, Any], dict[str, str]]:
    """The options as JSON without secrets, and the secrets that are set; by their public names."""
    public = options.model_dump(mode="json", by_alias=True)
    secret: dict[str, str] = {}
    for name, field in type(options).model_fields.items():
        if not _is_secret(field.annotation):
            continue
        public.pop(field.alias or name, None)
        value = getattr(options, name)
        if value is not None and value.get_secret_value():
            secret[field.alias or name] = value.get_secret_value()
    return public, secret


def _is_secret(annotation: Any) -> bool:
    return annotation is SecretStr or SecretStr in getattr(annotation, "__args__", ())


def _sealed(secret: dict[str, str]) -> str:
    return secret_box.seal(secret, settings.SECRET_KEY) if secret else ""


def _secrets(account: ProviderAccount) -> dict[str, Any]:
    return secret_box.unseal(account.sealed_secrets, settings.SECRET_KEY)


def _with_kept_secrets(
    provider: Provider, account: ProviderAccount, options: dict[str, Any]
) -> dict[str, Any]:
    given = {name: value for name, value in options.items() if value != MASK}
    if all(name in given for name in _secret_names(provider.options)):
        # Every secret is entered anew, so an old SECRET_KEY need not be there to open the old ones.
        return given
    return _secrets(account) | given


def _secret_names(model: type[Options]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items() if _is_secret(field.annotation)]


def _saved(account: ProviderAccount, fields: list[str] | None = None) -> ProviderAccount:
    try:
        with transaction.atomic():
            account.save(update_fields=fields)
    except IntegrityError as error:
        if "one_account_per_name" not in str(error):
            raise
        raise _fault(
            "name", f"There is already an account called “{account.name}”: choose another name."
        ) from None
    return account
