"""The form of a provider account: its fields come from the options that the kind declares.

It checks nothing, that is `automations.accounts`; and it never holds the text of a secret.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from django.http import QueryDict
from django.utils.translation import gettext

from regulars.automations import accounts
from regulars.automations.models import ProviderAccount
from regulars.automations.problems import Problem
from regulars.customers.models import Channel
from regulars.dashboard import account_words
from regulars.providers.base import Provider

WIDGETS = {"boolean": "checkbox", "integer": "number", "number": "number"}
# What the browser itself holds a field to, by the declaration's name for it.
BOUNDS = {"minimum": "min", "maximum": "max", "maxLength": "maxlength"}
FORGET = "forget."


@dataclass(frozen=True, slots=True)
class Field:
    """One line of the form. `path` is its name, and that of the faults about it."""

    path: str
    label: str
    widget: str = "text"
    value: str = ""
    # The name in the documents, over the API and on the command line.
    code: str = ""
    hint: str = ""
    fault: str = ""
    required: bool = False
    # A secret that is stored: left empty, it stays.
    is_set: bool = False
    rare: bool = False
    bounds: Mapping[str, str] = field(default_factory=dict)
    choices: Sequence[tuple[str, str]] = ()

    @property
    def id(self) -> str:
        return self.path.replace(".", "-")

    @property
    def described_by(self) -> str:
        """The ids of the hint and the fault, those there are."""
        named = {"hint": self.hint or self.is_set, "fault": self.fault}
        return " ".join(f"{self.id}-{name}" for name, there in named.items() if there)

    @property
    def forget(self) -> str:
        """The name of the box that takes a stored secret away, where the account can do without."""
        return FORGET + self.path if self.is_set and not self.required else ""


@dataclass(frozen=True, slots=True)
class Entered:
    """What stands in the form: texts by path, the channels ticked, and the secrets that are stored."""

    texts: Mapping[str, str] = field(default_factory=dict)
    channels: Sequence[str] = ()
    stored: Sequence[str] = ()


def stored_in(account: ProviderAccount, stored: Sequence[str]) -> Entered:
    """The account as the form shows it first; `stored` are the secrets that it has."""
    texts = {f"options.{name}": _text(value) for name, value in account.options.items()}
    for name in account_words.LIMITS:
        texts[name] = _text(getattr(account, name))
    return Entered(texts | {"name": account.name}, account.channels, stored)


def posted(provider: Provider, form: QueryDict, stored: Sequence[str] = ()) -> Entered:
    """What was sent, to be shown again; a secret has to be entered anew."""
    secrets = accounts.secret_names(provider)
    open_ones = [f"options.{name}" for name, _ in _declared(provider) if name not in secrets]
    texts = {path: _sent(form, path) for path in ("name", *account_words.LIMITS, *open_ones)}
    return Entered(texts, form.getlist("channels"), stored)


def options_from(provider: Provider, form: QueryDict) -> dict[str, Any]:
    """The options as the API would be given them; what is left empty is left out."""
    secrets, given = accounts.secret_names(provider), dict[str, Any]()
    for name, stated in _declared(provider):
        path = f"options.{name}"
        if name in secrets:
            given |= _secret(form, name)
        elif _widget(stated) == "checkbox":
            given[name] = path in form
        elif text := _sent(form, path):
            given[name] = _parts(text) if stated.get("type") == "array" else text
    return given


def limits_from(form: QueryDict) -> accounts.Limits:
    """The limits that the form states.

    Raises:
        AccountError: one is no whole number.
    """
    return accounts.limits_from({name: _sent(form, name) for name in account_words.LIMITS})


def name_from(form: QueryDict) -> str:
    """The name that the form states."""
    return _sent(form, "name")


def channels_from(provider: Provider, form: QueryDict) -> list[str] | None:
    """The channels ticked; None where the kind has only one, and nothing is asked."""
    return form.getlist("channels") if len(provider.channels) > 1 else None


def page(provider: Provider, entered: Entered, problems: Sequence[Problem] = ()) -> dict[str, Any]:
    """What the page shows: the fields by group, the channels, and the faults that belong to no field."""
    faults = {_place(each["path"]): account_words.fault(each["problem"]) for each in problems}
    options = [_field(provider, each, stated, entered) for each, stated in _declared(provider)]
    fields = [_name(entered), *options, *_limits(provider, entered)]
    shown = {each.path: replace(each, fault=faults.get(each.path, "")) for each in fields}
    beside = {*shown, "channels"}
    rare = [shown[each.path] for each in options if each.rare]
    return {
        "usual": [shown["name"], *(shown[each.path] for each in options if not each.rare)],
        "rare": rare,
        "rare_wrong": any(each.fault for each in rare),
        "limits": [shown[path] for path in account_words.LIMITS if path in shown],
        "channels": [(each, each in entered.channels) for each in provider.channels],
        "channels_fault": faults.get("channels", ""),
        "faults": [words for path, words in faults.items() if path not in beside],
        "wrong": bool(faults),
    }


def _name(entered: Entered) -> Field:
    label, hint = gettext("Name"), gettext("What you call it, such as “Our SMS”.")
    text, bounds = entered.texts.get("name", ""), {"maxlength": "100"}
    return Field("name", label, value=text, hint=hint, required=True, bounds=bounds)


def _limits(provider: Provider, entered: Entered) -> list[Field]:
    """The limits that can be set; the one on guests is WhatsApp's."""
    texts = {path: entered.texts.get(path, "") for path in account_words.LIMITS}
    if Channel.WHATSAPP not in provider.channels and not texts["recipients_per_day"]:
        del texts["recipients_per_day"]
    return [
        Field(path, str(account_words.LIMITS[path]), "number", text, bounds={"min": "1"})
        for path, text in texts.items()
    ]


def _field(provider: Provider, name: str, stated: dict[str, Any], entered: Entered) -> Field:
    path, secret = f"options.{name}", name in accounts.secret_names(provider)
    default = _text(stated.get("default"))
    return Field(
        path,
        account_words.option(name),
        "password" if secret else _widget(stated),
        "" if secret else entered.texts.get(path, default),
        code=name,
        hint=account_words.hint(name, stated["description"]),
        required=stated["required"],
        is_set=name in entered.stored,
        rare=name in account_words.RARE,
        bounds=_bounds(stated),
        choices=[(str(each), account_words.choice(name, str(each))) for each in stated.get("enum", ())],
    )


def _declared(provider: Provider) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each option with what its kind says of it, in the words of JSON Schema."""
    schema = provider.options.model_json_schema(by_alias=True)
    for name, stated in schema.get("properties", {}).items():
        found = _plain(stated, schema.get("$defs", {}))
        yield name, found | {"required": name in schema.get("required", ())}


def _plain(stated: dict[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """Without references, and without the `null` of what may be left out."""
    choices = [each for each in stated.get("anyOf", ()) if each.get("type") != "null"]
    inner: dict[str, Any] = choices[0] if choices else stated
    inner = definitions.get(inner.get("$ref", "").rpartition("/")[2], inner)
    return inner | {"default": stated.get("default"), "description": stated.get("description", "")}


def _widget(stated: Mapping[str, Any]) -> str:
    if "enum" in stated:
        return "select"
    return WIDGETS.get(stated.get("type", ""), "text")


def _bounds(stated: Mapping[str, Any]) -> dict[str, str]:
    bounds = {html: _text(stated[name]) for name, html in BOUNDS.items() if name in stated}
    return bounds | ({"step": "any"} if stated.get("type") == "number" else {})


def _secret(form: QueryDict, name: str) -> dict[str, str]:
    """A secret that was entered, or an empty one where it is to be taken away."""
    text = form.get(f"options.{name}", "").replace("\0", "")
    return {name: text} if text or f"{FORGET}options.{name}" in form else {}


def _sent(form: QueryDict, path: str) -> str:
    # The database keeps no NUL.
    return form.get(path, "").replace("\0", "").strip()


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _text(value: Any) -> str:
    """A value as it stands in a field: the same in every language."""
    if value is None or value is False:
        return ""
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _place(path: str) -> str:
    """The field that a fault is about: of a list's item, the list."""
    return path.partition("[")[0]
