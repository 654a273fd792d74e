"""CSV that a spreadsheet shows and does not run."""

import csv
import io
from collections.abc import AsyncIterator, Generator, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, StreamingHttpResponse

# A spreadsheet takes a cell that begins so for a formula (OWASP, CSV injection).
FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r")
# By this sign a spreadsheet knows that a CSV file is UTF-8.
MARK = "\ufeff"
_ROWS_A_BLOCK = 1_000


def neutralise(cell: str) -> str:
    """`cell` as a spreadsheet shows it instead of running it; our import takes the apostrophe off."""
    return f"'{cell}" if cell.startswith(FORMULA_SIGNS) else cell


def csv_blocks(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> Generator[str, None, None]:
    """The table as CSV, some hundred rows at a time: as many as are in memory, however many there are."""
    waiting = iter(rows)
    block: list[Sequence[Any]] = [header]
    while block:
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerows([neutralise("" if cell is None else str(cell)) for cell in row] for row in block)
        yield text.getvalue()
        block = list(islice(waiting, _ROWS_A_BLOCK))


def csv_response(
    request: HttpRequest, blocks: Generator[str, None, None], name: str
) -> StreamingHttpResponse:
    """The blocks as a file called `name`, sent as they are made."""
    body = from_thread(blocks) if isinstance(request, ASGIRequest) else blocks
    response = StreamingHttpResponse(body, content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    # Names and addresses of guests: nobody on the way keeps them.
    response["Cache-Control"] = "no-store"
    return response


async def from_thread(blocks: Generator[str, None, None]) -> AsyncIterator[str]:
    """The same blocks for an asynchronous server, which would gather all of a plain iterator first.

    Each is made in the request's own thread, as its database connection lives there.
    """
    try:
        while (block := await sync_to_async(_next)(blocks)) is not None:
            yield block
    finally:
        await sync_to_async(blocks.close)()


def _next(blocks: Iterator[str]) -> str | None:
    return next(blocks, None)
