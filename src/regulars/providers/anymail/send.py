"""Hands letters to Postmark, Mailgun and Resend.

Postmark and Mailgun know no idempotency key, and Resend's holds for a whole batch only: a call
without a clear answer is unknown and stays so.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from regulars.lib.http import Answer
from regulars.providers.anymail import answers, looking_up, requests
from regulars.providers.anymail.options import MailgunOptions, PostmarkOptions, ResendOptions
from regulars.providers.anymail.service import MailService, Page
from regulars.providers.base import Found, Outgoing, Question, Rate
from regulars.providers.batches import MESSAGES_A_CALL


class Postmark(MailService):
    kind = "postmark"
    label = "Postmark"
    options = PostmarkOptions
    can_look_up = True

    def written(self, batch: Sequence[Outgoing], options: Any) -> requests.Request:
        return requests.postmark(batch, options)

    def judged(self, answer: Answer, number: int, secret: str) -> answers.Outcomes:
        return answers.postmark(answer, number, secret)

    def account_page(self, options: Any) -> Page:
        return Page("server", self._headers(options))

    def letter_page(self, question: Question, options: Any) -> Page:
        query = looking_up.postmark_query(question, options)
        return Page("messages/outbound", self._headers(options), query=query)

    def found_in(self, answer: Answer, question: Question) -> Found | None:
        return looking_up.in_postmarks_list(answer, question)

    def _headers(self, options: Any) -> dict[str, str]:
        return {"x-postmark-server-token": self.secret_of(options), "accept": "application/json"}

    def secret_of(self, options: Any) -> str:
        return str(options.server_token.get_secret_value())


class Mailgun(MailService):
    kind = "mailgun"
    label = "Mailgun"
    options = MailgunOptions
    max_batch = 1
    concurrency = 32
    can_look_up = True

    def written(self, batch: Sequence[Outgoing], options: Any) -> requests.Request:
        return requests.mailgun(batch[0], options)

    def judged(self, answer: Answer, number: int, secret: str) -> answers.Outcomes:
        return answers.mailgun(answer, secret)

    def account_page(self, options: Any) -> Page:
        return Page(f"domains/{options.domain}", login=("api", self.secret_of(options)))

    def letter_page(self, question: Question, options: Any) -> Page:
        login, query = ("api", self.secret_of(options)), looking_up.mailgun_query(question)
        return Page(f"{options.domain}/events", login=login, query=query)

    def found_in(self, answer: Answer, question: Question) -> Found | None:
        return looking_up.in_mailguns_list(answer, question)


class Resend(MailService):
    kind = "resend"
    label = "Resend"
    options = ResendOptions
    rates = {"email": Rate(2 * MESSAGES_A_CALL, timedelta(seconds=1))}

    def written(self, batch: Sequence[Outgoing], options: Any) -> requests.Request:
        return requests.resend(batch, options)

    def judged(self, answer: Answer, number: int, secret: str) -> answers.Outcomes:
        return answers.resend(answer, number, secret)

    def account_page(self, options: Any) -> Page:
        return Page("domains", {"authorization": f"Bearer {self.secret_of(options)}"})
