"""Signing in and out, by allauth's own views under our templates.

allauth rather than Django's LoginView: it brings the limit on failed logins and will bring reset,
passkeys and a second factor without another page to write. Only two of its views are mounted:
people are made by `regulars user create`, so sign-up is closed.
"""

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.views import LoginView, LogoutView
from django.http import HttpRequest


class ClosedSignup(DefaultAccountAdapter):  # type: ignore[misc]
    """Nobody makes an account for themselves."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        del request
        return False

    def add_message(self, *args: object, **kwargs: object) -> None:
        """Say nothing: the page that follows shows that one is signed in or out."""


class SignIn(LoginView):  # type: ignore[misc]
    """E-mail and password; then the page that was asked for."""

    template_name = "dashboard/sign_in.html"


class SignOut(LogoutView):  # type: ignore[misc]
    """Asks on GET, signs out on POST."""

    template_name = "dashboard/sign_out.html"
