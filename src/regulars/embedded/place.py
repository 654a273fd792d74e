"""Where data, programs and socket lie when the home itself will not do.

Root's server runs under another account. If that account cannot reach the
home (a checkout below /root), data and programs go to
`/var/lib/regulars/<hash of home>`, and the home records it. Other people's
folders are never opened for it; the home and its `postgres` folder, when we
make them, let just that account's group pass through.

The socket lies in a short folder of its own, because the system limits such
paths to about 103 bytes. Its name depends on the home alone, so that a process
that outlives a server finds the next one at the same place.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from regulars.embedded import cluster
from regulars.embedded.account import choose
from regulars.embedded.errors import CouldNotStartError, DataMissingError

if TYPE_CHECKING:
    from collections.abc import Callable

    from regulars.embedded.account import Account
    from regulars.embedded.home import Home

_ELSEWHERE = Path("/var/lib/regulars")
_LONGEST_SOCKET_FOLDER = 80


def data_owner(home: Home) -> int | None:
    """Return who owns the data that is there; None if there is none yet."""
    for root in (_recorded(home), home.folder, _elsewhere(home)):
        for name in ("data", "data.upgraded"):
            if root and cluster.major_of(root / name):
                return (root / name).stat().st_uid
    return None


def settle(home: Home, announce: Callable[[str], None]) -> tuple[Account, Path]:
    """Return the server's account and the folder that holds data and programs."""
    owner = data_owner(home) if os.geteuid() == 0 else None
    account = choose(owner, home.folder.stat().st_uid, announce)
    recorded = _recorded(home)
    if recorded:
        return account, recorded
    if account.foreign:
        _let_through_our_own(home, account)
        if not account.reaches(home.folder):
            if _has_data(home):
                raise _closed(home, account)
            return account, _make_elsewhere(home, account, announce)
    return account, home.folder


def _let_through_our_own(home: Home, account: Account) -> None:
    """Open the home to the server's group if nothing but us lives in it, or we always did."""
    account.let_through(home.folder)
    ours_alone = all(entry == home.folder for entry in home.home.iterdir())
    if (ours_alone or _has_data(home)) and not account.reaches(home.home):
        account.let_through(home.home)


def _has_data(home: Home) -> bool:
    return any((home.folder / name).exists() for name in ("data", "data.upgraded"))


def _closed(home: Home, account: Account) -> CouldNotStartError:
    # A fresh database elsewhere would look as if this one were lost.
    return CouldNotStartError(
        f"The database is in {home.folder} and runs under the account {account.name}, which can "
        f"no longer enter that folder. Let it pass again (chmod o+x on the folders above "
        f"{home.home}), or run Regulars as an ordinary user who owns {home.home}."
    )


def _recorded(home: Home) -> Path | None:
    try:
        root = Path(home.location.read_text(encoding="utf-8").strip())
    except FileNotFoundError:
        return None
    if not root.is_dir():
        raise DataMissingError(
            f"The database of {home.home} was kept in {root}, and that folder is gone. Put it "
            f"back from a backup; or, to begin with an empty database, delete {home.location}."
        )
    return root


def _elsewhere(home: Home) -> Path:
    return _ELSEWHERE / _hash(home)


def _hash(home: Home) -> str:
    return hashlib.sha256(os.fsencode(home.home.resolve())).hexdigest()[:16]


def _make_elsewhere(home: Home, account: Account, announce: Callable[[str], None]) -> Path:
    root = _elsewhere(home)
    known = root.is_dir()
    _ELSEWHERE.mkdir(parents=True, exist_ok=True)
    _ELSEWHERE.chmod(0o711)  # Ours; whoever passes through finds closed folders.
    root.mkdir(mode=0o700, exist_ok=True)
    account.let_through(root)
    (root / "home").write_text(f"{home.home}\n", encoding="utf-8")
    home.location.write_text(f"{root}\n", encoding="utf-8")
    found = "found there, with what it holds" if known else "kept there"
    announce(
        f"PostgreSQL refuses to run as root, and the account {account.name} cannot reach "
        f"{home.home}: the database is {found}: {root}"
    )
    return root


def socket_folder(home: Home, account: Account) -> Path:
    """Make the folder of the socket, open to the server's account only."""
    name = f"regulars-{_hash(home)}"
    for parent in _short_folders(account):
        folder = parent / name
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            if account.foreign and folder.lstat().st_uid == 0:
                os.chown(folder, account.uid, account.gid, follow_symlinks=False)
        except OSError:
            continue
        if _is_private(folder, account):
            return folder
    # Somebody else took the name in a folder that everyone may write to.
    folder = Path(tempfile.mkdtemp(prefix="regulars-", dir="/tmp"))
    account.own(folder)
    return folder


def _is_private(folder: Path, account: Account) -> bool:
    found = folder.lstat()
    return (
        stat.S_ISDIR(found.st_mode) and found.st_uid == account.uid and stat.S_IMODE(found.st_mode) == 0o700
    )


def _short_folders(account: Account) -> list[Path]:
    runtime = [Path("/run")] if os.geteuid() == 0 else []
    session = os.environ.get("XDG_RUNTIME_DIR")
    if session and not account.foreign and os.geteuid() != 0:
        runtime.append(Path(session))
    places = [*runtime, Path(tempfile.gettempdir()), Path("/tmp")]  # noqa: S108
    return [place for place in places if len(os.fsencode(place)) <= _LONGEST_SOCKET_FOLDER - 25]
