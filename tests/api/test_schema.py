"""Every documented operation is called with what its schema allows and what it forbids."""

import json
import re

import hypothesis
import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from hypothesis import HealthCheck, Phase, given
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.config import SchemathesisConfig
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.openapi.checks import RejectedPositiveData

SECRET = "the secret of the scheduler"
RUN = "POST /api/automations/{id}/run"
NOT_FOUND = re.compile(
    r'\{"success": false, "error": "Automation not found", '
    r'"timestamp": "\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z"\}'
)
# What these mean cannot be said in a JSON schema (Liquid, conditions, a provider's options, a key that
# was used before), so that a value of the right shape may still be refused, with 422 and the reasons.
MEANING_IS_CHECKED = {
    "POST /api/automations",
    "PUT /api/automations/{id}",
    "PATCH /api/automations/{id}",
    "POST /api/providers",
    "PATCH /api/providers/{id}",
    "PATCH /api/providers/{id}/callbacks",
    "POST /api/customers",
    "POST /api/customers/bulk",
    "POST /api/reservations",
    "POST /api/reservations/bulk",
    "POST /api/visits",
    "POST /api/visits/bulk",
    "POST /api/webhooks",
    "PATCH /api/webhooks/{id}",
    "PATCH /api/organization",
    "POST /api/customers/{id}/consents",
}
# One function serves all kinds of row.
LIKE_ANOTHER = {f"POST /api/{kind}{many}" for kind in ("visits", "reservations") for many in ("", "/bulk")}
WITHOUT_INPUT = {"GET /api/health", "DELETE /api/session"}
OPERATIONS = [
    "GET /api/audit",
    "GET /api/automations",
    "POST /api/automations",
    "GET /api/automations/{id}",
    "PUT /api/automations/{id}",
    "PATCH /api/automations/{id}",
    "DELETE /api/automations/{id}",
    "POST /api/automations/{id}/disable",
    "POST /api/automations/{id}/enable",
    "GET /api/automations/{id}/preview",
    "POST /api/automations/{id}/preview",
    "GET /api/automations/{id}/preview/due",
    "GET /api/automations/{id}/preview/verdicts",
    "GET /api/automations/{id}/preview/verdicts.csv",
    RUN,
    "GET /api/cron/automations",
    "GET /api/cron/master",
    "POST /api/customers",
    "POST /api/customers/bulk",
    "GET /api/customers/{id}/consents",
    "POST /api/customers/{id}/consents",
    "PUT /api/customers/{id}/block",
    "DELETE /api/customers/{id}/block",
    "POST /api/customers/{id}/erase",
    "GET /api/customers/{id}/explain",
    "GET /api/customers/{id}/export",
    "POST /api/customers/{id}/merge",
    "GET /api/health",
    "GET /api/inbound",
    "POST /api/inbound/{id}/looked-at",
    "GET /api/messages/{id}",
    "POST /api/messages/{id}/settle",
    "GET /api/organization",
    "PATCH /api/organization",
    "GET /api/outbox",
    "GET /api/providers",
    "POST /api/providers",
    "PATCH /api/providers/{id}",
    "POST /api/providers/{id}/sync",
    "GET /api/providers/{id}/templates",
    "POST /api/providers/{id}/test",
    "GET /api/providers/{id}/callbacks",
    "PATCH /api/providers/{id}/callbacks",
    "POST /api/reservations",
    "POST /api/reservations/bulk",
    "GET /api/runs",
    "GET /api/runs/{id}",
    "POST /api/runs/{id}/cancel",
    "POST /api/runs/{id}/look-up",
    "GET /api/runs/{id}/messages",
    "POST /api/runs/{id}/pause",
    "POST /api/runs/{id}/resume",
    "POST /api/runs/{id}/retry",
    "POST /api/runs/{id}/settle",
    "GET /api/runs/{id}/skips",
    "GET /api/session",
    "POST /api/session",
    "DELETE /api/session",
    "POST /api/suppressions",
    "POST /api/visits",
    "POST /api/visits/bulk",
    "GET /api/webhooks",
    "POST /api/webhooks",
    "PATCH /api/webhooks/{id}",
    "DELETE /api/webhooks/{id}",
    "GET /api/webhooks/{id}/deliveries",
    "POST /api/webhooks/{id}/deliveries/{delivery}/retry",
    "POST /api/webhooks/{id}/test",
]
# Does not end while its run goes on, so it cannot be called like the others: see test_streaming.py.
STREAMS = ["GET /api/runs/{id}/events"]


@pytest.fixture
def _one_connection():
    """As Django's own test client does: the end of a request must not end the test's transaction."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.fixture
def schema(_one_connection, settings, organization):
    """The documentation over the real application, in this process."""
    from django.core.wsgi import get_wsgi_application

    settings.CRON_SECRET = SECRET
    settings.RUN_WAIT_SECONDS = 0
    config = SchemathesisConfig.from_dict({"generation": {"allow-x00": False}})
    return schemathesis.openapi.from_wsgi("/api/openapi.json", get_wsgi_application(), config=config)


@pytest.fixture
def token(owner, organization):
    from regulars.organizations import tokens

    return tokens.create(owner, organization, "schemathesis")


def test_every_operation_is_in_the_list(schema):
    found = [operation.ok().label for operation in schema.get_all_operations()]
    assert sorted(found) == sorted(OPERATIONS + STREAMS)


@pytest.mark.slow
@pytest.mark.parametrize("label", OPERATIONS)
def test_an_operation_keeps_its_promises(schema, token, automation, run, lapsed, label):
    """All checks: no crash, documented status, body and headers, forbidden values refused."""
    lapsed()
    method, path = label.split()
    secret = SECRET if path.startswith("/api/cron/") else token
    headers = {"Authorization": f"Bearer {secret}"}
    known = str(run.pk if path.startswith("/api/runs") else automation.pk)

    @given(case=cases(schema[path][method], label), on_known=st.booleans())
    @hypothesis.settings(
        max_examples=10 if label in LIKE_ANOTHER else 30,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def call(case, on_known):
        given_id = (case.path_parameters or {}).get("id")
        if on_known and case.meta.generation.mode is GenerationMode.POSITIVE and isinstance(given_id, str):
            case.path_parameters["id"] = known
        check(case, case.call(headers=headers), headers, label)

    call()


def cases(operation, label):
    """Allowed and forbidden calls; what takes no input has nothing to forbid."""
    allowed = operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
    if label in WITHOUT_INPUT:
        return allowed
    return allowed | operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)


def check(case, response, headers, label):
    """Run all checks; tolerate the one ordered 500, and a 422 where meaning is checked."""
    try:
        case.validate_response(response, headers=headers)
    except FailureGroup as group:
        left = [failure for failure in group.exceptions if not is_excepted(failure, response, label)]
        if left:
            raise FailureGroup(left) from None


def is_excepted(failure: Failure, response, label) -> bool:
    if label == RUN and response.status_code == 500:
        return bool(NOT_FOUND.fullmatch(response.text)) and "ServerError" in type(failure).__name__
    return (
        label in MEANING_IS_CHECKED
        and isinstance(failure, RejectedPositiveData)
        and response.status_code == 422
        and bool(json.loads(response.text)["details"])
    )
