"""Nobody rewrites what was done; that a user is gone leaves the entry."""

import pytest
from django.db import IntegrityError, transaction

from regulars.organizations import audit
from regulars.organizations.models import AuditEvent, User

pytestmark = pytest.mark.django_db


@pytest.fixture
def event(organization, now):
    user = User.objects.create_user("ana@example.com", "a long enough password")
    return audit.record(organization, user, "automation.enabled", now=now, subject=7)


@pytest.mark.parametrize("change", [{"action": "x"}, {"subject": "8"}, {"details": {"a": 1}}])
def test_the_database_refuses_to_change_an_entry(event, change):
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        AuditEvent.objects.filter(pk=event.pk).update(**change)


def test_the_database_refuses_to_remove_an_entry(event):
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        AuditEvent.objects.all().delete()


def test_an_entry_outlives_its_user(event):
    event.user.delete()
    event.refresh_from_db()
    assert (event.user, event.action) == (None, "automation.enabled")
