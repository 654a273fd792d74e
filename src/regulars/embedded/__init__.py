"""The PostgreSQL that comes along, for those who have none.

Owns one server per `$REGULARS_HOME`: finding its programs, making its data,
starting, watching, stopping and upgrading it. Knows nothing of Django or of
any other room, and refuses the network: the server is reached through a
socket that only its own user and root may open.

    url = ensure(Path("var"))   # the server is up while this process lives
"""

from regulars.embedded.client import Status, ensure, print_to_stderr, status, stop
from regulars.embedded.errors import (
    CouldNotStartError,
    DataMissingError,
    DiskFullError,
    EmbeddedError,
    HeldElsewhereError,
    HomeNotWritableError,
    NewerDataError,
    NoProgramsError,
    NoServerAccountError,
    ProgramsTooOldError,
    UpgradeError,
)

__all__ = [
    "CouldNotStartError",
    "DataMissingError",
    "DiskFullError",
    "EmbeddedError",
    "HeldElsewhereError",
    "HomeNotWritableError",
    "NewerDataError",
    "NoProgramsError",
    "NoServerAccountError",
    "ProgramsTooOldError",
    "Status",
    "UpgradeError",
    "ensure",
    "print_to_stderr",
    "status",
    "stop",
]
