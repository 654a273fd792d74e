"""Which providers there are: those that come along, then those of other packages. A vendor is
imported when first asked for.

Another package names its provider in the entry-point group `regulars.providers`: the kind, and the
class (`docs/adding-a-provider.md`). What is installed can send only once an owner makes an account
of its kind; a kind that comes along cannot be replaced.
"""

from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points

import structlog

from regulars.providers.base import Provider

log = structlog.get_logger("regulars.providers")

GROUP = "regulars.providers"

BUILT_IN = {
    "sandbox": "regulars.providers.sandbox.send:Sandbox",
    "smtp": "regulars.providers.smtp.send:Smtp",
    "twilio": "regulars.providers.twilio.send:Twilio",
    "meta": "regulars.providers.meta.send:Meta",
    "brevo": "regulars.providers.brevo.send:Brevo",
    "ses": "regulars.providers.ses.send:Ses",
    "postmark": "regulars.providers.anymail.send:Postmark",
    "mailgun": "regulars.providers.anymail.send:Mailgun",
    "resend": "regulars.providers.anymail.send:Resend",
}


class UnknownProviderError(LookupError):
    """There is no provider of this kind."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"There is no provider '{kind}'. Choose one of: {', '.join(kinds())}.")


class BrokenProviderError(LookupError):
    """The provider of another package cannot be used; the text names the package and says why."""

    def __init__(self, entry: EntryPoint, reason: str) -> None:
        package = entry.dist.name if entry.dist else entry.module
        super().__init__(f"The provider '{entry.name}' of the package {package} cannot be used: {reason}.")


@cache
def get(kind: str) -> Provider:
    """The provider of this kind, one object per process.

    Raises:
        UnknownProviderError: there is none; its text names those there are.
        BrokenProviderError: its package is installed, but cannot be used.
    """
    if kind in BUILT_IN:
        module, _, name = BUILT_IN[kind].partition(":")
        provider: Provider = getattr(import_module(module), name)()
        return provider
    if entry := _elsewhere().get(kind):
        return _loaded(entry)
    raise UnknownProviderError(kind)


def kinds() -> list[str]:
    """The kinds there are, whether or not those of other packages can be used."""
    return [*BUILT_IN, *_elsewhere()]


def all_providers() -> list[Provider]:
    """Every provider that can be used, in the order in which people are offered them."""
    return [get(kind) for kind in BUILT_IN] + _usable()


@cache
def _usable() -> list[Provider]:
    """Those of other packages; one that cannot be used is told once and keeps nobody from the rest."""
    found = []
    for kind in _elsewhere():
        try:
            found.append(get(kind))
        except BrokenProviderError as error:
            log.warning("provider left out", reason=str(error))
    return found


@cache
def _elsewhere() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUP) if entry.name not in BUILT_IN}


def _loaded(entry: EntryPoint) -> Provider:
    try:
        found = entry.load()
    except Exception as error:
        raise BrokenProviderError(entry, f"{type(error).__name__}: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Provider)):
        raise BrokenProviderError(entry, f"{entry.value} is not a subclass of {Provider.__module__}.Provider")
    if found.kind != entry.name:
        raise BrokenProviderError(entry, f"its kind is '{found.kind}'")
    try:
        return found()
    except Exception as error:
        raise BrokenProviderError(entry, f"{type(error).__name__}: {error}") from error
