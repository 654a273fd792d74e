"""What follows from a provider's word about a template or an account: who has to stop, stops, and says why.

Nothing goes on by itself because a provider is content again: a person resumes.
"""

from datetime import datetime

from regulars.automations import provider_news
from regulars.automations.models import ProviderAccount
from regulars.providers.callbacks import AccountNews, TemplateNews
from regulars.runs import engine


def template(account: ProviderAccount, news: TemplateNews, at: datetime) -> None:
    """As a broken template: its automations are paused with the reason, and so are their runs."""
    for automation in provider_news.take_template(account, news, at):
        engine.pause_runs_of(automation)


def accounts(account: ProviderAccount, news: AccountNews, at: datetime) -> bool:
    """As a broken account where it may send no more; whether it was about any account of ours.

    The runs stop before the news are noted, so that a crash in between leaves the news to be told again.
    """
    found = provider_news.meant(account, news)
    for one in found:
        if news.works is False and provider_news.is_news(one, news, at):
            engine.break_account(one, news.words)
        provider_news.take_account(one, news, at)
    return bool(found)
