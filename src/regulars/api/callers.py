"""Who is calling, for which organization, and what they may do. Refuses browsers of other sites.

A session cookie suffices without a CSRF token, as the ordered document's call sends a cookie and
nothing else; in exchange a request that a browser marks as coming from another site is refused.
"""

import re
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest
from ninja.security import APIKeyCookie, HttpBearer

from regulars.api.errors import ApiError
from regulars.lib import clock
from regulars.organizations import access, tokens
from regulars.organizations.access import Permission
from regulars.organizations.models import Membership, Organization, User

SAFE_METHODS = {"GET", "HEAD", "OPTIONS", "TRACE"}
_SESSION_KEY = re.compile(r"[0-9a-z]{8,64}")


@dataclass(frozen=True, slots=True)
class Caller:
    """A signed-in person, or a program with that person's token, acting in one organization."""

    user: User
    organization: Organization
    role: str
    by_token: bool = False

    def require(self, permission: Permission) -> None:
        """Go on only with `permission`.

        Raises:
            ApiError: 403, naming the roles that have it.
        """
        if not access.may(self.role, permission):
            roles = ", ".join(access.roles_with(permission))
            raise ApiError(403, f"Your role ({self.role}) may not do this. Roles that may: {roles}.")

    def require_run(self) -> None:
        """Go on only if this member may run automations.

        Raises:
            ApiError: 403, where the organization restricts it to other roles.
        """
        if not access.may_run(self.organization, self.role):
            roles = ", ".join(self.organization.run_roles)
            raise ApiError(
                403,
                f"Your role ({self.role}) may not run automations in {self.organization.name}. "
                f"Roles that may: {roles}.",
                code="role_may_not_run",
            )

    @property
    def sees_addresses(self) -> bool:
        """Contact data goes to people who may see it; a program gets it masked."""
        return not self.by_token and access.may(self.role, Permission.SEE_CONTACT_DATA)


def caller_of(request: Any) -> Caller:
    """The caller that authentication put on the request.

    Raises:
        ApiError: 403, when the person belongs to no organization (any more).
    """
    found = request.auth
    if not isinstance(found, Caller):
        raise ApiError(
            403,
            "You belong to no organization yet. Ask an owner to add you.",
            code="no_organization",
        )
    return found


class SessionCookie(APIKeyCookie):
    """A signed-in session without a CSRF token; a browser on another site is refused."""

    param_name = settings.SESSION_COOKIE_NAME

    def __init__(self) -> None:
        super().__init__(csrf=False)

    def authenticate(self, request: HttpRequest, key: str | None) -> Any:
        if not key or not _SESSION_KEY.fullmatch(key) or not request.user.is_authenticated:
            return None
        refuse_cross_site(request)
        chosen = request.session.get(access.CHOSEN_ORGANIZATION)
        membership = access.membership_of(request.user, chosen)
        return _caller(membership, request.user) if membership else request.user


class BearerToken(HttpBearer):
    """`Authorization: Bearer <token>`, for programs; the organization is the token's."""

    def authenticate(self, request: HttpRequest, token: str) -> Any:
        membership = tokens.verify(token, clock.now())
        return _caller(membership, membership.user, by_token=True) if membership else None


def _caller(membership: Membership, user: Any, *, by_token: bool = False) -> Caller:
    return Caller(user, membership.organization, membership.role, by_token)


def refuse_cross_site(request: HttpRequest) -> None:
    """Let no other site act for a signed-in person.

    Raises:
        ApiError: 403, for a changing request that a browser marks as coming from elsewhere.
    """
    if request.method not in SAFE_METHODS and is_cross_site(request):
        raise ApiError(403, "Cross-site request refused", code="cross_site")


def is_cross_site(request: HttpRequest) -> bool:
    """Whether a browser on another site sent this: by Fetch Metadata, else by Origin.

    The rule of Go's CrossOriginProtection. A program sends neither header; `same-site` (a sibling
    host) is another site. Behind a TLS proxy it needs `REGULARS_PUBLIC_URL`, for the scheme.
    """
    origin = request.headers.get("Origin")
    if origin in settings.CSRF_TRUSTED_ORIGINS:
        return False
    if site := request.headers.get("Sec-Fetch-Site"):
        return site not in ("same-origin", "none")
    return bool(origin) and origin != f"{request.scheme}://{request.get_host()}"


def uuid_or_none(text: str) -> UUID | None:
    """The UUID that `text` is in its usual form with hyphens, or None."""
    try:
        found = UUID(text)
    except ValueError:
        return None
    return found if str(found) == text.lower() else None
