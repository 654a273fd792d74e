"""Keys for programs: issued once, verified by their hash. The token itself is kept nowhere."""

import secrets
from datetime import datetime, timedelta

from django.db.models import Q

from regulars.organizations.models import ApiToken, Membership, Organization, User

# The prefix lets secret scanners, and people, see what a leaked string is.
PREFIX = "regulars_"
# `last_used_at` is for people: one write in this time is enough.
_USE_NOTED_EVERY = timedelta(minutes=5)


class NotAMemberError(ValueError):
    """A token acts for a member: the user must belong to the organization first."""


def create(user: User, organization: Organization, name: str = "") -> str:
    """Issue a token for `user` in `organization` and return it: it can be read only now.

    Raises:
        NotAMemberError: the user does not belong to the organization.
    """
    if not Membership.objects.filter(user=user, organization=organization).exists():
        raise NotAMemberError(f"{user.email} is not a member of {organization.name}: add them first.")
    token = PREFIX + secrets.token_urlsafe(32)
    ApiToken.objects.create(user=user, organization=organization, name=name, digest=ApiToken.digest_of(token))
    return token


def verify(token: str, now: datetime) -> Membership | None:
    """The membership for which `token` acts, or None if it is unknown or acts for nobody any more.

    A token dies with its user's account and with the membership: it never outlives a dismissal.
    """
    if not token.startswith(PREFIX) or not token.isascii():
        return None
    found = ApiToken.objects.filter(digest=ApiToken.digest_of(token), user__is_active=True).first()
    if found is None:
        return None
    _note_use(found, now)
    return (
        Membership.objects.filter(user_id=found.user_id, organization_id=found.organization_id)
        .select_related("organization", "user")
        .first()
    )


def _note_use(token: ApiToken, now: datetime) -> None:
    stale = Q(last_used_at=None) | Q(last_used_at__lt=now - _USE_NOTED_EVERY)
    ApiToken.objects.filter(stale, pk=token.pk).update(last_used_at=now)
