"""Whatever a vendor answers: an outcome each, never an exception, and nothing accepted without an id."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regulars.lib.http import Answer
from regulars.providers.anymail import answers as anymail
from regulars.providers.anymail import tables
from regulars.providers.base import Outcome, Verdict
from regulars.providers.brevo import answers as brevo
from regulars.providers.meta import answers as meta
from regulars.providers.ses import answers as ses

NAMES = st.sampled_from(
    "index errors messageId messageIds MessageId BulkEmailEntryResults Status Error code message name data id "
    "ErrorCode Message MessageID __type SendQuota SendingEnabled error messages error_data details".split()
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
WORDS = st.sampled_from(["SUCCESS", "invalid_parameter", "validation_error", "BadRequestException", "OK"])
DOCUMENTS = st.recursive(
    LEAVES | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=8,
)
BODIES = st.binary(max_size=50) | DOCUMENTS.map(lambda value: json.dumps(value).encode())
STATUSES = st.sampled_from(
    [200, 201, 202, 204, 302, 307, 400, 401, 402, 403, 404, 409, 413, 422, 429, 500, 503]
)

JUDGES = {
    "brevo one": lambda answer, number: brevo.outcome_of(answer, "email", "secret"),
    "brevo many": lambda answer, number: brevo.outcomes_of(answer, number, "secret"),
    "ses one": lambda answer, number: ses.outcome_of(answer, "secret"),
    "ses many": lambda answer, number: ses.outcomes_of(answer, number, "secret"),
    "postmark": lambda answer, number: anymail.postmark(answer, number, "secret"),
    "resend": lambda answer, number: anymail.resend(answer, number, "secret"),
    "meta": lambda answer, number: meta.outcome_of(answer, "secret"),
    "mailgun": lambda answer, number: anymail.mailgun(answer, "secret"),
}


@pytest.mark.parametrize("judge", JUDGES.values(), ids=JUDGES)
@given(status=STATUSES, body=BODIES, number=st.integers(1, 3))
def test_every_answer_has_its_outcomes(judge, status, body, number):
    judged = judge(Answer(status, {}, body), number)
    assert isinstance(judged, Outcome) or len(judged) == number
    for outcome in [judged] if isinstance(judged, Outcome) else judged:
        assert isinstance(outcome, Outcome)
        if outcome.verdict is Verdict.ACCEPTED:
            assert status // 100 == 2
            assert outcome.provider_id
        if status >= 500:
            # No code of theirs says that a server that failed took nothing, but for maintenance.
            assert outcome.verdict is not Verdict.ACCEPTED


@given(DOCUMENTS)
def test_every_account_page_can_be_told(document):
    assert ses.granted(document if isinstance(document, dict) else {}).words


def test_maintenance_is_the_only_failure_of_a_server_that_comes_back_by_itself():
    answer = Answer(503, {}, json.dumps({"ErrorCode": 100, "Message": "Maintenance"}).encode())
    assert anymail.postmark(answer, 3).verdict is Verdict.THROTTLED
    assert tables.POSTMARK[100].retry_after.total_seconds() == 60
