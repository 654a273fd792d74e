"""Who may do what: the roles, and the membership under which a person acts. Writes nothing."""

from enum import StrEnum

from regulars.organizations.models import Membership, Organization, Role, User

# The key of the session under which the organization a person chose is kept, by its id.
CHOSEN_ORGANIZATION = "organization_id"


class Permission(StrEnum):
    """What may be done in an organization."""

    READ = "read"
    SEE_CONTACT_DATA = "see_contact_data"
    CONTROL_RUNS = "control_runs"
    CHANGE_CUSTOMERS = "change_customers"
    CHANGE_AUTOMATIONS = "change_automations"
    CHANGE_PROVIDERS = "change_providers"
    CHANGE_PEOPLE = "change_people"
    # Taking a guest's data away for good, or out of the house, and merging two guests.
    MANAGE_PERSONAL_DATA = "manage_personal_data"
    READ_AUDIT = "read_audit"


# Each role includes the ones below it. Running an automation is not here: every member may, unless
# the organization restricts it (`may_run`).
_ALLOWED: dict[str, frozenset[Permission]] = {}
_ALLOWED[Role.VIEWER] = frozenset({Permission.READ})
_ALLOWED[Role.STAFF] = _ALLOWED[Role.VIEWER] | {
    Permission.SEE_CONTACT_DATA,
    Permission.CONTROL_RUNS,
    Permission.CHANGE_CUSTOMERS,
}
_ALLOWED[Role.MANAGER] = _ALLOWED[Role.STAFF] | {
    Permission.CHANGE_AUTOMATIONS,
    Permission.CHANGE_PROVIDERS,
    Permission.MANAGE_PERSONAL_DATA,
    Permission.READ_AUDIT,
}
_ALLOWED[Role.OWNER] = _ALLOWED[Role.MANAGER] | {Permission.CHANGE_PEOPLE}


def may(role: str, permission: Permission) -> bool:
    """Whether a member with `role` has `permission`; an unknown role has none."""
    return permission in _ALLOWED.get(role, frozenset())


def may_run(organization: Organization, role: str) -> bool:
    """Whether a member with `role` may run automations: all may, unless `run_roles` names fewer."""
    return not organization.run_roles or role in organization.run_roles


def roles_with(permission: Permission) -> list[str]:
    """The roles that have `permission`, highest first: for the sentence that refuses somebody."""
    return [role.value for role in Role if may(role, permission)]


def membership_of(user: User, chosen: object = None) -> Membership | None:
    """The membership under which `user` acts: in the chosen organization, else in the first one.

    `chosen` is an organization's id as the session keeps it; one that the user does not belong to
    (any more) is ignored. None if the user belongs to no organization.
    """
    mine = Membership.objects.filter(user=user).select_related("organization").order_by("id")
    if isinstance(chosen, int) and (found := mine.filter(organization_id=chosen).first()):
        return found
    return mine.first()
