"""Signing in and out with a cookie. A wrong password costs the same whoever it is tried on."""

import hashlib
from typing import Any

from django.contrib.auth import authenticate, login, logout
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from ninja import Router

from regulars.api.callers import Caller, refuse_cross_site
from regulars.api.errors import ApiError
from regulars.api.schemas import Refusal, SessionState, SignIn, answers
from regulars.organizations import access
from regulars.organizations.models import Membership, User

router = Router(tags=["session"])

# Per process, e-mail address and caller's address: enough to make guessing pointless.
MOST_FAILURES = 10
FORGET_AFTER_SECONDS = 300


@router.post("/session", auth=None, response=answers(SessionState) | {429: Refusal}, operation_id="sign_in")
def sign_in(request: HttpRequest, credentials: SignIn) -> Any:
    """Sign in: the answer sets the session cookie."""
    refuse_cross_site(request)
    key = _throttle_key(request, credentials.email)
    if cache.get(key, 0) >= MOST_FAILURES:
        raise ApiError(429, "Too many attempts. Wait five minutes, then try again.")
    user = authenticate(request, email=credentials.email, password=credentials.password)
    if not isinstance(user, User):
        cache.add(key, 0, FORGET_AFTER_SECONDS)
        cache.incr(key)
        raise ApiError(401, "The e-mail address or the password is wrong.", code="wrong_credentials")
    membership = _membership(user, credentials.organization)
    cache.delete(key)
    login(request, user)
    if membership is not None:
        request.session[access.CHOSEN_ORGANIZATION] = membership.organization_id
    return _state(user, membership)


@router.get("/session", response=answers(SessionState), operation_id="who_am_i")
def who_am_i(request: Any) -> Any:
    """Who is signed in, in which organization, as what."""
    caller = request.auth
    if not isinstance(caller, Caller):
        return _state(caller, None)
    return {
        "email": caller.user.email,
        "organization": caller.organization,
        "role": caller.role,
    }


@router.delete("/session", auth=None, response=answers(None, 204), operation_id="sign_out")
def sign_out(request: HttpRequest) -> Any:
    """Sign out. Who is not signed in gets the same answer."""
    refuse_cross_site(request)
    logout(request)
    return HttpResponse(status=204)


def _throttle_key(request: HttpRequest, email: str) -> str:
    tried = f"{request.META.get('REMOTE_ADDR', '')}|{email.strip().lower()}"
    return "sign-in:" + hashlib.sha256(tried.encode()).hexdigest()


def _membership(user: User, slug: str) -> Membership | None:
    if not slug:
        return access.membership_of(user)
    mine = Membership.objects.filter(user=user, organization__slug=slug).select_related("organization")
    if (found := mine.first()) is None:
        raise ApiError(403, f"You are not a member of “{slug}”.", code="not_a_member")
    return found


def _state(user: User, membership: Membership | None) -> dict[str, Any]:
    return {
        "email": user.email,
        "organization": membership and membership.organization,
        "role": membership and membership.role,
    }
