"""The pages, by address."""

from django.urls import path
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from regulars.dashboard.accounts import SignIn, SignOut
from regulars.dashboard.views import (
    account_forms,
    account_pages,
    audit,
    automations,
    customers,
    organizations,
    outbox,
    personal_data,
    previews,
    runs,
    schedules,
    switching,
    tact,
    unsubscribing,
    webhooks,
)

asks_then_acts = require_http_methods(["GET", "HEAD", "POST"])

urlpatterns = [
    # allauth looks its views up by these two names.
    path("sign-in", SignIn.as_view(), name="account_login"),
    path("sign-out", SignOut.as_view(), name="account_logout"),
    path("", require_GET(automations.index), name="automations"),
    path("organization", require_POST(organizations.choose), name="choose_organization"),
    path("automations/<uuid:automation_id>/preview", require_GET(previews.page), name="preview"),
    path(
        "automations/<uuid:automation_id>/preview/guests", require_GET(previews.guests), name="preview_guests"
    ),
    path(
        "automations/<uuid:automation_id>/preview/guests.csv", require_GET(previews.file), name="preview_csv"
    ),
    path(
        "automations/<uuid:automation_id>/preview/guests/<int:customer_id>/email",
        require_GET(previews.email),
        name="preview_email",
    ),
    path(
        "automations/<uuid:automation_id>/run",
        asks_then_acts(automations.run),
        name="run_automation",
    ),
    path("automations/<uuid:automation_id>/schedule", asks_then_acts(schedules.page), name="schedule"),
    path("automations/<uuid:automation_id>/switch", asks_then_acts(switching.page), name="switch"),
    path("runs", require_GET(runs.index), name="runs"),
    path("runs/<uuid:run_id>", require_GET(runs.page), name="run"),
    path("runs/<uuid:run_id>/progress", require_GET(runs.progress), name="run_progress"),
    path("runs/<uuid:run_id>/cancel", asks_then_acts(runs.cancel), name="cancel_run"),
    path("runs/<uuid:run_id>/pause", require_POST(runs.pause), name="pause_run"),
    path("runs/<uuid:run_id>/retry", asks_then_acts(runs.retry), name="retry_run"),
    path("runs/<uuid:run_id>/settle", asks_then_acts(runs.settle_all), name="settle_run"),
    path("runs/<uuid:run_id>/look-up", require_POST(runs.look_up), name="look_up_run"),
    path("runs/<uuid:run_id>/resume", require_POST(runs.resume), name="resume_run"),
    path("messages/<int:message_id>/settle", require_POST(runs.settle), name="settle_message"),
    path("guests", require_GET(customers.index), name="customers"),
    path("guests/<int:customer_id>", require_GET(customers.page), name="customer"),
    path("inbound/<int:inbound_id>/looked-at", require_POST(customers.looked_at), name="looked_at"),
    path("guests/<int:customer_id>/export", require_GET(personal_data.export), name="export_customer"),
    path("guests/<int:customer_id>/erase", asks_then_acts(personal_data.erase), name="erase_customer"),
    path("guests/<int:customer_id>/merge", asks_then_acts(personal_data.merge), name="merge_customer"),
    path("guests/<int:customer_id>/block", require_POST(personal_data.block), name="block_customer"),
    path("guests/<int:customer_id>/withdraw", require_POST(personal_data.withdraw), name="withdraw_consent"),
    path(
        "guests/<int:customer_id>/wrong-person", require_POST(personal_data.wrong_person), name="wrong_person"
    ),
    path("audit", require_GET(audit.page), name="audit"),
    path("tact", asks_then_acts(tact.page), name="tact"),
    path("providers", require_GET(account_pages.index), name="accounts"),
    path("providers/new", require_GET(account_forms.kinds), name="new_account"),
    path("providers/new/<str:kind>", asks_then_acts(account_forms.new), name="new_account_of"),
    path("providers/<int:account_id>", require_GET(account_pages.page), name="account"),
    path("providers/<int:account_id>/change", asks_then_acts(account_forms.change), name="change_account"),
    path(
        "providers/<int:account_id>/callbacks",
        require_POST(account_forms.callback_secrets),
        name="set_callback_secrets",
    ),
    path("providers/<int:account_id>/test", require_POST(account_pages.test), name="test_account"),
    path("providers/<int:account_id>/sync", require_POST(account_pages.synchronise), name="sync_account"),
    path("outbox", require_GET(outbox.index), name="outbox"),
    path("outbox/<int:entry_id>", require_GET(outbox.page), name="outbox_entry"),
    path("outbox/<int:entry_id>/email", require_GET(outbox.email), name="outbox_email"),
    path("webhooks", asks_then_acts(webhooks.index), name="webhooks"),
    path("webhooks/<int:endpoint_id>/remove", require_POST(webhooks.remove), name="remove_webhook"),
    path("u/<str:token>", asks_then_acts(unsubscribing.page), name="unsubscribe"),
    path("webhooks/<int:endpoint_id>/test", require_POST(webhooks.test), name="test_webhook"),
    path(
        "webhook-deliveries/<int:delivery_id>/send-again",
        require_POST(webhooks.send_again),
        name="send_webhook_again",
    ),
]
