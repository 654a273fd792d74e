"""Which providers there are: the only list. A vendor is imported when first asked for.

A provider from another package would be added here, from the entry-point group
`regulars.providers`; none is read yet, so nothing that happens to be installed can send.
"""

from functools import cache
from importlib import import_module

from regulars.providers.base import Provider

BUILT_IN = {
    "sandbox": "regulars.providers.sandbox.send:Sandbox",
    "smtp": "regulars.providers.smtp.send:Smtp",
    "twilio": "regulars.providers.twilio.send:Twilio",
    "meta": "regulars.providers.meta.send:Meta",
}


class UnknownProviderError(LookupError):
    """There is no provider of this kind."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"There is no provider '{kind}'. Choose one of: {', '.join(BUILT_IN)}.")


@cache
def get(kind: str) -> Provider:
    """The provider of this kind, one object per process.

    UnknownProviderError if there is none; its text names those there are.
    """
    if kind not in BUILT_IN:
        raise UnknownProviderError(kind)
    module, _, name = BUILT_IN[kind].partition(":")
    provider: Provider = getattr(import_module(module), name)()
    return provider


def all_providers() -> list[Provider]:
    """Every provider, in the order in which people are offered them."""
    return [get(kind) for kind in BUILT_IN]
