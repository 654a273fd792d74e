"""Make organizations, users and memberships; refuse what the models would keep in silence."""

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction

from regulars.organizations.models import Membership, Organization, Role, User


class PeopleError(ValueError):
    """What was asked cannot be done; the text says what is wrong and what to do."""


def create_organization(
    slug: str,
    name: str = "",
    timezone: str = "Europe/Madrid",
    country: str = "ES",
    language: str = "es",
) -> Organization:
    """Make a tenant. `timezone` is an IANA name, `country` ISO 3166 alpha-2, `language` ISO 639-1.

    Raises:
        PeopleError: the slug is taken or malformed, the zone does not exist, and the like.
    """
    organization = Organization(
        slug=slug,
        name=name or slug,
        timezone=timezone,
        country=country.upper(),
        language=language.lower(),
    )
    if len(organization.country) != 2 or not organization.country.isalpha():
        raise PeopleError(f"“{country}” is not a country. Use two letters such as ES.")
    try:
        organization.full_clean(exclude=["fingerprint_key"])
    except ValidationError as error:
        raise PeopleError(_words(error)) from error
    organization.save()
    return organization


def create_user(
    email: str, password: str, role: str = Role.STAFF, organization: Organization | None = None
) -> User:
    """Make a person who signs in with `email`, a member of `organization` (if given) with `role`.

    Raises:
        PeopleError: the address is malformed or taken, the password too weak, the role unknown.
    """
    _check_role(role)
    try:
        validate_email(email)
        validate_password(password)
    except ValidationError as error:
        raise PeopleError(_words(error)) from error
    if User.objects.filter(email__iexact=email).exists():
        raise PeopleError(f"There is a user {email} already. Add them to the organization instead.")
    with transaction.atomic():
        user = User.objects.create_user(email, password)
        if organization is not None:
            add_member(user, organization, role)
    return user


def add_member(user: User, organization: Organization, role: str) -> Membership:
    """Make `user` a member with `role`, or change the role of a member.

    Raises:
        PeopleError: the role is unknown.
    """
    _check_role(role)
    membership, _ = Membership.objects.update_or_create(
        user=user, organization=organization, defaults={"role": role}
    )
    return membership


def _check_role(role: str) -> None:
    if role not in Role.values:
        raise PeopleError(f"“{role}” is not a role. Roles: {', '.join(Role.values)}.")


def _words(error: ValidationError) -> str:
    if hasattr(error, "error_dict"):
        return " ".join(f"{field}: {' '.join(problems)}" for field, problems in error.message_dict.items())
    return " ".join(error.messages)
