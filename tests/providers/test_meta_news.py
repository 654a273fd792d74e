"""What Meta tells of templates, numbers and accounts, and what of it nobody reads."""

import json
from datetime import UTC, datetime

import pytest

from regulars.providers.base import Approval
from regulars.providers.callbacks import AccountNews, Request, TemplateNews, Unread, handler

AT = datetime(2026, 6, 15, 12, 0, tzinfo=UTC)
OPTION = ("business_account_id", "102")
TEMPLATE = {
    "message_template_id": 1689556908129832,
    "message_template_name": "we_miss_you",
    "message_template_language": "es",
}


def told(field, **value):
    change = {"field": field, "value": value}
    document = {
        "object": "whatsapp_business_account",
        "entry": [{"id": "102", "time": 1781524800, "changes": [change]}],
    }
    return handler("meta").events(Request("POST", "/", {}, json.dumps(document).encode()))


def template(**news):
    return [TemplateNews("1689556908129832", AT, **news)]


@pytest.mark.parametrize(
    ("event", "approval"),
    [
        ("APPROVED", Approval.APPROVED),
        ("REINSTATED", Approval.APPROVED),
        ("PENDING", Approval.PENDING),
        ("IN_APPEAL", Approval.PENDING),
        ("REJECTED", Approval.REJECTED),
        ("PAUSED", Approval.PAUSED),
        *((event, Approval.DISABLED) for event in ("DISABLED", "DELETED", "PENDING_DELETION", "ARCHIVED")),
    ],
)
def test_what_becomes_of_a_template(event, approval):
    found = told("message_template_status_update", event=event, reason="NONE", **TEMPLATE)
    assert found == template(approval=approval)


def test_why_a_template_is_not_approved_comes_in_metas_words():
    words = "Your template has been paused for 3 hours."
    (paused,) = told("message_template_status_update", event="PAUSED", reason="NONE",
                     other_info={"title": "FIRST_PAUSE", "description": words}, **TEMPLATE)  # fmt: skip
    (rejected,) = told("message_template_status_update", event="REJECTED", reason="INVALID_FORMAT",
                       message_template_category="MARKETING", **TEMPLATE)  # fmt: skip
    assert (paused.reason, rejected.reason, rejected.category) == (words, "INVALID_FORMAT", "marketing")


def test_category_and_quality_of_a_template():
    moved = told(
        "template_category_update", previous_category="UTILITY", new_category="MARKETING", **TEMPLATE
    )
    assert moved == template(category="marketing")
    worse = told(
        "message_template_quality_update", previous_quality_score="GREEN", new_quality_score="RED", **TEMPLATE
    )
    assert worse == template(quality="red")


@pytest.mark.parametrize(
    ("field", "value", "news"),
    [
        ("phone_number_quality_update", {"event": "UPGRADE", "current_limit": "TIER_10K"}, {"recipients_per_day": 10_000}),
        ("phone_number_quality_update", {"event": "FLAGGED", "display_phone_number": "12015550100",
                                         "max_daily_conversations_per_business": "TIER_250", "current_limit": "TIER_1K"},
         {"recipients_per_day": 250, "number": "+12015550100", "flagged": True}),
        ("phone_number_quality_update", {"event": "UNFLAGGED", "current_limit": "TIER_NOT_SET"}, {"flagged": False}),
        ("business_capability_update", {"max_daily_conversations_per_business": 2000}, {"recipients_per_day": 2000}),
        ("business_capability_update", {"max_daily_conversation_per_phone": -1}, {"recipients_per_day": 0}),
        ("business_capability_update", {"max_daily_conversations_per_business": "TIER_UNLIMITED"}, {"recipients_per_day": 0}),
        ("account_update", {"event": "DISABLED_UPDATE", "ban_info": {"waba_ban_state": "REINSTATE"}}, {"works": True}),
        ("account_update", {"event": "ACCOUNT_RECONNECTED"}, {"works": True}),
    ],
)  # fmt: skip
def test_what_an_account_may(field, value, news):
    assert told(field, **value) == [AccountNews(OPTION, AT, **news)]


@pytest.mark.parametrize(
    "value",
    [
        {"event": "DISABLED_UPDATE", "ban_info": {"waba_ban_state": "DISABLE", "waba_ban_date": "June 15, 2026"}},
        {"event": "ACCOUNT_RESTRICTION", "restriction_info": [{"restriction_type": "RESTRICTED_BIZ_INITIATED_MESSAGING"}]},
        {"event": "ACCOUNT_DELETED"},
    ],
)  # fmt: skip
def test_an_account_that_may_send_no_more(value):
    (news,) = told("account_update", **value)
    assert (news.works, news.recipients_per_day) == (False, None)
    assert "WhatsApp Manager" in news.words


@pytest.mark.parametrize(
    ("field", "value", "what"),
    [
        ("something_new", {"event": "HELLO"}, "something_new HELLO"),
        ("message_template_status_update", TEMPLATE | {"event": "FLAGGED"}, "message_template_status_update FLAGGED"),
        ("message_template_status_update", {"event": "PAUSED"}, "message_template_status_update PAUSED"),
        ("template_category_update", TEMPLATE | {"new_category": 7}, "template_category_update"),
        ("account_update", {"event": "DISABLED_UPDATE", "ban_info": {"waba_ban_state": "SCHEDULE_FOR_DISABLE"}},
         "account_update DISABLED_UPDATE"),
        ("business_capability_update", {"max_daily_conversations_per_business": "TIER_OF_TOMORROW"},
         "business_capability_update"),
    ],
)  # fmt: skip
def test_what_nobody_reads_is_named(field, value, what):
    assert told(field, **value) == [Unread(what)]
