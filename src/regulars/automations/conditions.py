"""Conditions: a tree of rules in JSON, compiled to one `Q` over `Customer`.

`{"all": […]}`, `{"any": […]}`, `{"not": {…}}`, or a leaf `{"field", "operator", "value"}`;
`{}` is everybody. What cannot be understood is refused with the path of the fault, never ignored:
an ignored rule would write to people who were meant to be left out.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import BooleanField, Case, Q, Value, When

from regulars.automations import customer_fields
from regulars.automations.condition_fields import (
    OPERATOR_WORDS,
    Field,
    Kind,
    ValueProblem,
    all_fields,
    checked_value,
    compare,
    field_named,
    register_field,
)
from regulars.automations.evidence import Evidence, Term
from regulars.automations.problems import listed, suggestion
from regulars.customers.models import Customer
from regulars.organizations.models import Organization

__all__ = [
    "ConditionError",
    "Kind",
    "all_fields",
    "check_conditions",
    "compare",
    "compile_conditions",
    "register_field",
    "unmet",
]

MAX_DEPTH = 10
MAX_NODES = 200
_GROUPS = ("all", "any", "not")

customer_fields.register()


class ConditionError(ValueError):
    """The tree cannot be used; `path` is where (`conditions.all[1].field`), `problem` says why."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path
        self.problem = problem


@dataclass(frozen=True)
class _Leaf:
    path: str
    field: Field
    operator: str
    value: Any


@dataclass(frozen=True)
class _Group:
    word: str
    parts: tuple["_Leaf | _Group", ...]


def compile_conditions(tree: dict[str, Any], organization: Organization, now: datetime) -> Q:
    """The condition over `Customer` that `tree` states at `now`; it touches no database.

    Raises:
        ConditionError: the tree is not well formed, or names something that does not exist.
    """
    parsed = _parse(tree)
    return Q() if parsed is None else _compile(parsed, organization, now)


def check_conditions(tree: Any, organization: Organization) -> None:
    """Refuse what `compile_conditions` would refuse, and values that name nothing (a venue).

    Raises:
        ConditionError: with the path of the first fault.
    """
    parsed = _parse(tree)
    for leaf in _leaves(parsed) if parsed is not None else ():
        problem = _check(leaf, organization)
        if problem is not None:
            raise ConditionError(f"{leaf.path}.value", problem)


def unmet(
    tree: dict[str, Any], organization: Organization, now: datetime, customer_id: int
) -> list[Evidence]:
    """Which rules of `tree` leave this customer out at `now`; empty if it matches.

    Raises:
        ConditionError: the tree is not well formed.
    """
    parsed = _parse(tree)
    if parsed is None:
        return []
    guest = Customer.objects.filter(pk=customer_id)
    held = {leaf.path: guest.filter(_compile(leaf, organization, now)).exists() for leaf in _leaves(parsed)}
    return [_told(leaf, excludes=held[leaf.path]) for leaf in _faults(parsed, held)]


def _holds(node: _Leaf | _Group, held: dict[str, bool]) -> bool:
    if isinstance(node, _Leaf):
        return held[node.path]
    parts = [_holds(part, held) for part in node.parts]
    return not parts[0] if node.word == "not" else all(parts) if node.word == "all" else any(parts)


def _faults(node: _Leaf | _Group, held: dict[str, bool], wanted: bool = True) -> list[_Leaf]:
    """The rules by which `node` is not as `wanted`; those are enough to mend it."""
    if _holds(node, held) == wanted:
        return []
    if isinstance(node, _Leaf):
        return [node]
    inner = wanted if node.word != "not" else not wanted
    return [leaf for part in node.parts for leaf in _faults(part, held, inner)]


def _told(leaf: _Leaf, *, excludes: bool) -> Evidence:
    known = {
        "field": Term(leaf.field.label),
        "operator": Term(OPERATOR_WORDS.get(leaf.operator, leaf.operator)),
        "value": _as_text(leaf.value),
    }
    if excludes:
        return Evidence("condition", "Excluded are those with: %(field)s %(operator)s %(value)s.", known)
    return Evidence("condition", "Asked for, and not so: %(field)s %(operator)s %(value)s.", known)


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    return listed(str(item) for item in value) if isinstance(value, tuple) else str(value)


def _check(leaf: _Leaf, organization: Organization) -> str | None:
    if leaf.field.check is None or leaf.value is None:
        return None
    return leaf.field.check(organization, leaf.value)


def _leaves(node: _Leaf | _Group) -> Iterator[_Leaf]:
    if isinstance(node, _Leaf):
        yield node
        return
    for part in node.parts:
        yield from _leaves(part)


def _parse(tree: Any) -> _Leaf | _Group | None:
    if tree == {}:
        return None
    nodes = 0

    def parse(node: Any, path: str, depth: int) -> _Leaf | _Group:
        nonlocal nodes
        nodes += 1
        if nodes > MAX_NODES:
            raise ConditionError(path, f"There are more than {MAX_NODES} rules: use fewer.")
        if depth > MAX_DEPTH:
            raise ConditionError(path, f"The rules are nested more than {MAX_DEPTH} deep.")
        if not isinstance(node, dict) or not node:
            raise ConditionError(path, "Here must be a rule or a group: an object that is not empty.")
        word = next((word for word in _GROUPS if word in node), None)
        if word is None:
            return _parse_leaf(node, path)
        return _parse_group(node, word, path, lambda part, where: parse(part, where, depth + 1))

    return parse(tree, "conditions", 1)


def _parse_group(
    node: dict[str, Any], word: str, path: str, parse: Callable[[Any, str], _Leaf | _Group]
) -> _Group:
    if len(node) > 1:
        names = listed(f"“{name}”" for name in node)
        raise ConditionError(path, f"A group has one word; here are {names}. Put one inside the other.")
    inner = f"{path}.{word}"
    if word == "not":
        return _Group(word, (parse(node[word], inner),))
    if not isinstance(node[word], list) or not node[word]:
        raise ConditionError(inner, f"“{word}” takes a list with at least one rule.")
    return _Group(word, tuple(parse(part, f"{inner}[{number}]") for number, part in enumerate(node[word])))


def _parse_leaf(node: dict[str, Any], path: str) -> _Leaf:
    for name in node:
        if name not in ("field", "operator", "value"):
            raise ConditionError(
                f"{path}.{name}",
                f"A rule has “field”, “operator” and “value”, a group “all”, “any” or “not”; "
                f"“{name}” is neither.",
            )
    field = _field(node, path)
    operator = _operator(node, field, path)
    try:
        value = checked_value(field, operator, node.get("value"))
    except ValueProblem as problem:
        raise ConditionError(f"{path}.value", str(problem)) from None
    return _Leaf(path, field, operator, value)


def _field(node: dict[str, Any], path: str) -> Field:
    name = node.get("field")
    field = field_named(name) if isinstance(name, str) else None
    if field is None:
        known = [each.name for each in all_fields()]
        hint = suggestion(str(name), known)
        raise ConditionError(
            f"{path}.field", f"There is no field “{name}”.{hint} Known fields: {listed(known)}."
        )
    return field


def _operator(node: dict[str, Any], field: Field, path: str) -> str:
    operator = node.get("operator")
    if not isinstance(operator, str) or operator not in field.operators:
        raise ConditionError(
            f"{path}.operator",
            f"“{field.name}” cannot be asked with “{operator}”. Possible: {listed(field.operators)}.",
        )
    return operator


def _compile(node: _Leaf | _Group, organization: Organization, now: datetime) -> Q:
    if isinstance(node, _Leaf):
        return node.field.build(organization, now, node.operator, node.value)
    parts = [_compile(part, organization, now) for part in node.parts]
    if node.word == "not":
        return _complement(parts[0])
    combined = parts[0]
    for part in parts[1:]:
        combined = combined & part if node.word == "all" else combined | part
    return combined


def _complement(condition: Q) -> Q:
    """Exactly those whom `condition` does not match.

    Not SQL's NOT: that leaves out rows for which the condition is NULL, whatever a pack builds.
    """
    return Q(
        Case(
            When(condition, then=Value(False)),
            default=Value(True),
            output_field=BooleanField(),
        )
    )
