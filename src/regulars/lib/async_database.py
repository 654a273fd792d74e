"""Connections of the sender's own: psycopg async, outside Django's transactions and threads."""

from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections
from psycopg import AsyncClientCursor, AsyncConnection
from psycopg.rows import DictRow, dict_row


async def connect() -> AsyncConnection[DictRow]:
    """A new autocommit connection to Django's default database; rows are dictionaries.

    Values are bound by the client, so that text compiled by the ORM, which leaves the types of its
    parameters open, means here what it means there.
    """
    wrapper = connections[DEFAULT_DB_ALIAS]
    parameters: dict[str, Any] = dict(wrapper.get_connection_params())
    for name in ("pool", "cursor_factory", "context", "server_side_binding", "prepare_threshold"):
        parameters.pop(name, None)
    connection = await AsyncConnection.connect(
        **parameters, autocommit=True, row_factory=dict_row, cursor_factory=AsyncClientCursor
    )
    # Without this a half-dead network would let a lane hang on one statement for ever.
    await connection.execute("SET statement_timeout = '30s'; SET TimeZone = 'UTC'")
    return connection
