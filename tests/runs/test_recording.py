"""What the calls said reaches the statements as it was said."""

import pytest
from django.db import connection

from regulars.providers.base import Outcome, Verdict
from regulars.runs.models import MessageState
from regulars.runs.recording import Attempt, Ended, columns
from regulars.runs.states import Next

SAID = ["", "plain", 'He said "no"', "C:\\temp\\", "{a,b}", "NULL", "l'été\r\n\t\u2028", "'; --"]


@pytest.mark.django_db
def test_errors_ids_and_moments_survive_the_way_into_an_array(now):
    ended = [
        Ended(
            Attempt(number, 1, "sms", "+12015550100"),
            Outcome(Verdict.REJECTED, provider_id=said, error=said),
            Next(MessageState.QUEUED, "retry", now if number % 2 else None),
        )
        for number, said in enumerate(SAID)
    ]
    ended.append(Ended(Attempt(10**12, 2, "sms", "+12015550101"), None, Next(MessageState.QUEUED)))
    query = """SELECT %(ids)s::bigint[], %(attempts)s::int[], %(states)s::text[], %(errors)s::text[],
                      %(provider_ids)s::text[], %(retries)s::timestamptz[]"""
    with connection.cursor() as cursor:
        cursor.execute(query, columns(ended))
        ids, attempts, states, errors, provider_ids, retries = cursor.fetchone()
    assert ids == [*range(len(SAID)), 10**12]
    assert attempts == [1] * len(SAID) + [2]
    assert states == ["queued"] * len(ended)
    assert errors == provider_ids == [*SAID, ""]
    assert retries == [*(now if number % 2 else None for number in range(len(SAID))), None]
