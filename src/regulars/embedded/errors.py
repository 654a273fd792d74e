"""What can go wrong with the server that comes along.

Each error's text says what happened and what to do about it, because the
person who reads it usually typed one command and knows no PostgreSQL. The
supervisor runs apart from the command that started it, so an error crosses a
pipe as its class name and text; this module is the one list of those names.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class EmbeddedError(Exception):
    """The database that comes along is not available."""


class HomeNotWritableError(EmbeddedError):
    """The home folder cannot be written to."""


class DiskFullError(EmbeddedError):
    """No room is left where the database lives."""


class NoProgramsError(EmbeddedError):
    """No PostgreSQL programs exist for this machine."""


class ProgramsTooOldError(EmbeddedError):
    """The PostgreSQL programs are older than Regulars needs."""


class NewerDataError(EmbeddedError):
    """The data was written by a newer PostgreSQL than the one at hand."""


class UpgradeError(EmbeddedError):
    """The data could not be brought to the new PostgreSQL."""


class NoServerAccountError(EmbeddedError):
    """No system account exists under which the server could run."""


class DataMissingError(EmbeddedError):
    """The recorded data folder is gone."""


class HeldElsewhereError(EmbeddedError):
    """Another machine or container serves this home."""


class CouldNotStartError(EmbeddedError):
    """The server did not start."""


_BY_NAME = {
    kind.__name__: kind
    for kind in (
        HomeNotWritableError,
        DiskFullError,
        NoProgramsError,
        ProgramsTooOldError,
        NewerDataError,
        UpgradeError,
        NoServerAccountError,
        DataMissingError,
        HeldElsewhereError,
        CouldNotStartError,
    )
}


def named(name: str, text: str) -> EmbeddedError:
    """Rebuild an error that another process reported."""
    return _BY_NAME.get(name, CouldNotStartError)(text)


def disk_full(place: Path | str) -> DiskFullError:
    return DiskFullError(
        f"No room is left on the disk that holds {place}. Free some space "
        "(a new database needs about 150 MB) and start again, or set "
        "REGULARS_HOME to a folder on a larger disk. Nothing that was "
        "committed is lost."
    )


def from_os(problem: OSError, home: Path) -> EmbeddedError:
    """Say in plain words what the operating system refused."""
    place = problem.filename or home
    if problem.errno in {errno.ENOSPC, errno.EDQUOT}:
        return disk_full(place)
    if problem.errno in {errno.EROFS, errno.EACCES, errno.EPERM}:
        return HomeNotWritableError(
            f"Regulars cannot write to {place} ({problem.strerror}). It keeps its "
            f"database and secrets in {home}: make that folder writable for this "
            "user, run as the user who owns it, or set REGULARS_HOME to another folder."
        )
    return CouldNotStartError(
        f"The database in {home} could not be prepared: {problem}. `regulars doctor` shows more."
    )
