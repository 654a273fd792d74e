"""Whether an account can be used: asked of the provider itself, without sending anything."""

import asyncio
from collections.abc import Sequence
from typing import Any

from regulars.automations.accounts import options_of
from regulars.automations.models import ProviderAccount
from regulars.providers import registry
from regulars.providers.base import Checked, Outgoing, Provider

# A person waits for the answer.
SECONDS = 10.0


def check_account(account: ProviderAccount) -> Checked | None:
    """What the provider says of the account; None where it cannot be asked without sending.

    Sends nothing, and changes nothing here: an account that is marked broken stays so until it is
    changed, since a key that is right need not be enough.

    Raises:
        AccountError: its options no longer fit, or a demo organization and a real provider.
        SecretUnreadableError: its secrets were sealed with another SECRET_KEY.
    """
    options = options_of(account)
    return asyncio.run(_check(registry.get(account.kind), options))


async def _check(provider: Provider, options: Any) -> Checked | None:
    connection = await provider.connect(options, _sends_nothing)
    try:
        async with asyncio.timeout(SECONDS):
            return await connection.check()
    except TimeoutError:
        return Checked(works=False, words=f"{provider.label} did not answer in time.")
    finally:
        await connection.close()


async def _sends_nothing(batch: Sequence[Outgoing]) -> None:
    raise AssertionError(f"A look at an account sends nothing, not {len(batch)} messages")
