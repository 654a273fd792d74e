"""The one way into the consent ledger, in sets: what is news is appended, and becomes current.

A SELECT of statements comes in (`COLUMNS`); it may tell each (customer, channel, purpose) once. The
customers' rows must be locked by whoever calls, in a transaction.
"""

from typing import Any

from regulars.lib import sql

COLUMNS = (
    "customer_id, channel, purpose, granted, basis, source, wording, wording_version, actor, at, evidence,"
    " may_raise"
)
_KEPT = COLUMNS.removesuffix(", may_raise")

CURRENT = """
    LEFT JOIN consents c ON c.customer_id = w.customer_id AND c.channel = w.channel
        AND c.purpose = w.purpose AND c.is_current
"""
# `consent.counts_as_news` as a condition, and: what the ledger has already (a callback that comes
# twice, an old file again) must not outweigh what was said since.
_NEWS = """
CREATE TEMP TABLE consent_news ON COMMIT DROP AS
WITH wanted ({columns}) AS ({statements})
SELECT w.*, c.id AS current_id FROM wanted w {current}
WHERE c.id IS NULL OR (
    CASE WHEN w.granted THEN w.may_raise AND w.at > c.at ELSE c.granted END
    AND NOT EXISTS (
        SELECT FROM consents o WHERE o.customer_id = w.customer_id AND o.channel = w.channel
        AND o.purpose = w.purpose AND o.granted = w.granted AND o.at = w.at AND o.source = w.source))
"""
_RETIRE = """
UPDATE consents SET is_current = false
WHERE id IN (SELECT current_id FROM consent_news WHERE current_id IS NOT NULL)
"""
_APPEND = f"""
INSERT INTO consents ({_KEPT}, recorded_at, is_current)
SELECT {_KEPT}, %(recorded_at)s, true FROM consent_news ORDER BY customer_id, channel, purpose
RETURNING id, customer_id
"""


def append(statements: str, values: dict[str, Any]) -> list[dict[str, Any]]:
    """Append those of the `statements` that are news; their rows (`id`, `customer_id`).

    `values` are the parameters of the SELECT, and `recorded_at`: when we learned of it.
    """
    sql.execute(_NEWS.format(columns=COLUMNS, statements=statements, current=CURRENT), values)
    sql.execute(_RETIRE)
    rows = sql.fetch_rows(_APPEND, {"recorded_at": values["recorded_at"]})
    sql.execute("DROP TABLE consent_news")
    return rows
