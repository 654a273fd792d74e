"""The Liquid that templates are written in: what it allows, its limits, and its refusal of holes.

No tag reads a file or another template. A variable without a value and without a `default` is an
error at the place where it would be printed, never a hole in a message (E27).
"""

from collections.abc import Callable
from functools import cache
from typing import Any, ClassVar, TextIO, cast

from liquid import Environment, Node, RenderContext, Token, TokenStream
from liquid.builtin.expressions import BooleanExpression, FilteredExpression, Path
from liquid.builtin.expressions.logical import LogicalAndExpression, LogicalOrExpression
from liquid.builtin.output import Output, OutputNode
from liquid.builtin.tags.if_tag import IfNode, IfTag
from liquid.builtin.tags.unless_tag import UnlessNode, UnlessTag
from liquid.exceptions import FilterArgumentError, LiquidError
from liquid.expression import Expression
from liquid.stringify import to_liquid_string
from liquid.undefined import StrictDefaultUndefined

from regulars.automations.dates import DateFormatError, format_moment

# What is written between the braces besides variables; the rest of Liquid is not needed to write to
# a guest, and `include`, `render` would read files.
TAGS = frozenset(
    [
        "if",
        "unless",
        "case",
        "for",
        "break",
        "continue",
        "assign",
        "capture",
        "comment",
        "#",
        "content",
        "output",
        "illegal",
    ]
)
_FILTERS = frozenset(
    [
        "abs",
        "at_most",
        "at_least",
        "ceil",
        "divided_by",
        "floor",
        "minus",
        "plus",
        "round",
        "times",
        "modulo",
        "capitalize",
        "append",
        "downcase",
        "escape",
        "escape_once",
        "lstrip",
        "newline_to_br",
        "prepend",
        "remove",
        "remove_first",
        "remove_last",
        "replace",
        "replace_first",
        "replace_last",
        "slice",
        "split",
        "upcase",
        "strip",
        "rstrip",
        "strip_html",
        "strip_newlines",
        "truncate",
        "truncatewords",
        "url_encode",
        "squish",
        "join",
        "first",
        "last",
        "size",
        "default",
        "date",
    ]
)
_HTML_ONLY = ("escape", "escape_once", "newline_to_br")


class HoleError(LiquidError):
    """A variable has no value for this guest, and the template gives no fallback."""

    def __init__(self, name: str, token: Token) -> None:
        super().__init__(f"{name} has no value for this guest", token=token)
        self.name = name


class _Present(Expression):
    """A variable standing alone in a condition: an empty text is false.

    In plain Liquid `{% if customer.first_name %}` is true for an empty name.
    """

    __slots__ = ("path",)

    def __init__(self, path: Path) -> None:
        super().__init__(path.token)
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    def evaluate(self, context: RenderContext) -> object:
        value = self.path.evaluate(context)
        return None if isinstance(value, str) and not value.strip() else value

    def children(self) -> list[Expression]:
        return [self.path]


def _empty_is_false(condition: Expression) -> Expression:
    if isinstance(condition, Path):
        return _Present(condition)
    if isinstance(condition, BooleanExpression):
        condition.expression = _empty_is_false(condition.expression)
    if isinstance(condition, LogicalAndExpression | LogicalOrExpression):
        condition.left = _empty_is_false(condition.left)
        condition.right = _empty_is_false(condition.right)
    return condition


class _IfTag(IfTag):
    def parse(self, stream: TokenStream) -> Node:
        node = super().parse(stream)
        if isinstance(node, IfNode):
            _empty_is_false(node.condition)
            for alternative in node.alternatives:
                _empty_is_false(alternative.expression)
        return node


class _UnlessTag(UnlessTag):
    def parse(self, stream: TokenStream) -> Node:
        node = super().parse(stream)
        if isinstance(node, UnlessNode):
            _empty_is_false(node.condition)
            for alternative in node.alternatives:
                _empty_is_false(alternative.expression)
        return node


class _Output(OutputNode):
    """`{{ … }}`, refusing to print nothing unless a `default` says that this is meant."""

    __slots__ = ("filters", "guarded", "left", "names")

    def __init__(self, token: Token, expression: Expression) -> None:
        super().__init__(token, expression)
        # The parser gives nothing else here: ternaries are switched off.
        filtered = cast("FilteredExpression", expression)
        self.left = filtered.left
        self.filters = filtered.filters or []
        self.guarded = any(each.name == "default" for each in self.filters)
        self.names = _two_names(self.left)

    def render_to_output(self, context: RenderContext, buffer: TextIO) -> int:
        """Print the value; raise `HoleError` when there is none."""
        value = self._value(context)
        if not self.guarded and (value is None or (isinstance(value, str) and not value.strip())):
            raise HoleError(str(self.left), self.token)
        for each in self.filters:
            value = each.evaluate(value, context)
        return buffer.write(to_liquid_string(value, context.autoescape))

    def _value(self, context: RenderContext) -> object:
        """What Liquid's own way finds, but found at once where nothing can be in front of it."""
        if self.names and not context.locals and context.scope.size() == _NAMESPACES:
            root, name = self.names
            found = context.globals.get(root)
            if type(found) is dict and name in found:
                value: object = found[name]
                return value
        return self.left.evaluate(context)


# Where a name is looked for, in this order: what the template assigned, what it was given, and two of
# Liquid's own. A loop puts one more in front.
_NAMESPACES = 4
# Of any value, whatever names it has.
_LIQUIDS_OWN = ("size", "first", "last")


def _two_names(expression: Expression) -> tuple[str, str] | None:
    """The names of `customer.first_name`; None for any other expression."""
    if not isinstance(expression, Path) or len(expression.path) != 2:
        return None
    root, name = expression.path
    if isinstance(root, str) and isinstance(name, str) and name not in _LIQUIDS_OWN:
        return root, name
    return None


class _OutputTag(Output):
    node_class = _Output


class _Liquid(Environment):
    # A template of a message is small; a loop or an output beyond these is a mistake or an attack.
    block_nesting_limit: ClassVar[int] = 20
    loop_iteration_limit: ClassVar[int | None] = 1_000
    local_namespace_limit: ClassVar[int | None] = 100_000
    output_stream_limit: ClassVar[int | None] = 500_000

    def setup_tags_and_filters(self, *, extra: bool = False) -> None:
        super().setup_tags_and_filters(extra=extra)
        self.tags = {name: tag for name, tag in self.tags.items() if name in TAGS}
        for tag in (_OutputTag, _IfTag, _UnlessTag):
            self.add_tag(tag)
        self.filters = {name: each for name, each in self.filters.items() if name in _FILTERS}


@cache
def environment(*, escape: bool, language: str) -> Environment:
    """The Liquid for HTML (`escape`) or text; `language` is that of printed dates.

    An empty `language` prints dates in the guest's own (`customer.language`).
    """
    made = _Liquid(undefined=StrictDefaultUndefined, autoescape=escape)
    made.add_filter("date", _date_filter(language))
    if not escape:
        # A text derived from HTML keeps these filters, and in a text nothing is to be escaped.
        for name in _HTML_ONLY:
            made.add_filter(name, lambda value: value)
    return made


def _date_filter(language: str) -> Callable[..., str]:
    def date(value: Any, pattern: str = "long", *, context: RenderContext) -> str:
        tongue = language or str(context.get(["customer", "language"], token=None, default="en"))
        try:
            return format_moment(value, str(pattern), tongue)
        except DateFormatError as problem:
            raise FilterArgumentError(str(problem), token=None) from problem

    date.with_context = True  # type: ignore[attr-defined]
    return date


__all__ = ["HoleError", "LiquidError", "environment"]
