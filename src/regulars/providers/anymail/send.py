"""Hands letters to Postmark, Mailgun and Resend.

Postmark and Mailgun know no idempotency key, and Resend's holds for a whole batch only: a call
without a clear answer is unknown and stays so.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from regulars.lib.http import Answer
from regulars.providers.anymail import answers, requests
from regulars.providers.anymail.options import MailgunOptions, PostmarkOptions, ResendOptions
from regulars.providers.anymail.service import AccountPage, MailService
from regulars.providers.base import Outgoing, Rate
from regulars.providers.batches import MESSAGES_A_CALL


class Postmark(MailService):
    kind = "postmark"
    label = "Postmark"
    options = PostmarkOptions

    def written(self, batch: Sequence[Outgoing], options: Any) -> requests.Request:
        return requests.postmark(batch, options)

    def judged(self, answer: Answer, number: int, secret: str) -> answers.Outcomes:
        return answers.postmark(answer, number, secret)

    def account_page(self, options: Any) -> AccountPage:
        headers = {"x-postmark-server-token": self.secret_of(options), "accept": "application/json"}
        return AccountPage("server", headers)

    def secret_of(self, options: Any) -> str:
        return str(options.server_token.get_secret_value())


class Mailgun(MailService):
    kind = "mailgun"
    label = "Mailgun"
    options = MailgunOptions
    max_batch = 1
    concurrency = 32

    def written(self, batch: Sequence[Outgoing], options: Any) -> requests.Request:
        return requests.mailgun(batch[0], options)

    def judged(self, answer: Answer, number: int, secret: str) -> answers.Outcomes:
        return answers.mailgun(answer, secret)

    def account_page(self, options: Any) -> AccountPage:
        return AccountPage(f"domains/{options.domain}", login=("api", self.secret_of(options)))


class Resend(MailService):
    kind = "resend"
    label = "Resend"
    options = ResendOptions
    rates = {"email": Rate(2 * MESSAGES_A_CALL, timedelta(seconds=1))}

    def written(self, batch: Sequence[Outgoing], options: Any) -> requests.Request:
        return requests.resend(batch, options)

    def judged(self, answer: Answer, number: int, secret: str) -> answers.Outcomes:
        return answers.resend(answer, number, secret)

    def account_page(self, options: Any) -> AccountPage:
        return AccountPage("domains", {"authorization": f"Bearer {self.secret_of(options)}"})
