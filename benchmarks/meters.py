"""What the machine says: processor time, memory, and what this machine is. Reads /proc."""

import os
import platform
import time
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def is_root() -> bool:
    return os.geteuid() == 0


def nap(seconds: float) -> None:
    time.sleep(seconds)


def _stat(pid: int) -> list[str]:
    # The name, in parentheses, may hold spaces.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def lives(pid: int) -> bool:
    """Whether the process is there, and not only its remains."""
    try:
        return _stat(pid)[0] != "Z"
    except OSError:
        return False


def tree(pid: int) -> list[int]:
    """The process and all that descend from it, living now."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                children.setdefault(int(_stat(int(folder.name))[1]), []).append(int(folder.name))
            except OSError:
                continue
    found, to_see = [], [pid]
    while to_see:
        found.append(to_see.pop())
        to_see += children.get(found[-1], [])
    return found


def cpu_seconds(pid: int) -> float:
    """Processor seconds of a process and its descendants, the ended and awaited ones included.

    So for PostgreSQL: its first process awaits every backend.
    """
    ticks = 0
    for each in tree(pid):
        try:
            ticks += sum(int(number) for number in _stat(each)[11:15])
        except OSError:
            continue
    return ticks / _TICKS


def peak_memory_mb(pid: int) -> float:
    """The largest resident size that any process of this tree has had."""
    return max((_peak(each) for each in tree(pid)), default=0.0)


def _peak(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


def machine() -> dict[str, object]:
    """What the figures were measured on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    return {
        "cores": os.cpu_count(),
        "processor": model or platform.machine(),
        "memory_gib": round(memory, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def machine_line(postgres: str = "") -> str:
    """The same in one line for people."""
    found = machine()
    line = (
        f"{found['cores']} cores of {found['processor']}, {found['memory_gib']} GiB, "
        f"Linux {found['kernel']}, Python {found['python']}"
    )
    return f"{line}{', ' + postgres if postgres else ''}; load before: {found['load_before']}"
