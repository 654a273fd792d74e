"""A limit of 50 a second, held by three worker processes over 60 seconds; and over a restart of all.

python -m benchmarks.rate                          both, as the sink saw it
python -m benchmarks.rate --rate 50 --seconds 60 --workers 3
"""

import argparse
import time
from itertools import pairwise

from benchmarks import contest, meters, ours
from benchmarks.contest import Ground, keep, say

SECOND = 1_000_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rate", type=int, default=50)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--only", choices=["steady", "restart"])
    parser.add_argument("--delay-ms", type=int, default=0, help="how long the sink takes to answer")
    parser.add_argument("--results", help="a JSON file to add the figures to")
    asked = parser.parse_args()
    with contest.ground("http", None, asked.delay_ms) as ground:
        print(f"{meters.machine_line(ground.server.settings())}\n")
        # More guests than can be written to in that time.
        ground.build(asked.rate * (asked.seconds + 60), "sms", "--per-second", str(asked.rate))
        print("| case | messages a second | off by | most in any 1 s | longest gap, s | twice |")
        print("| --- | ---: | ---: | ---: | ---: | ---: |")
        if asked.only != "restart":
            show("steady", ground, asked, restart=False)
        if asked.only != "steady":
            show("all workers restarted", ground, asked, restart=True)


def show(name: str, ground: Ground, asked: argparse.Namespace, *, restart: bool) -> None:
    """One case, as a line of the table."""
    times, most_to_one = observe(ground, asked, restart=restart)
    span = asked.seconds * SECOND
    # A restart has a pause of its own; the rate is that of the time outside it.
    inside = times if restart else [moment for moment in times if moment < times[0] + span]
    gap = max(b - a for a, b in pairwise(inside)) / SECOND
    mean = (
        (len(inside) - 1) / ((times[-1] - times[0]) / SECOND - gap)
        if restart
        else len(inside) / asked.seconds
    )
    found = {
        "rate": mean,
        "off_percent": (mean / asked.rate - 1) * 100,
        "most_in_a_second": densest(times),
        "longest_gap": gap,
        "messages": len(inside),
        "most_to_one_address": most_to_one,
    }
    print(
        f"| {name} | {mean:.2f} | {found['off_percent']:+.2f} % | {found['most_in_a_second']} | {gap:.2f} | "
        f"{0 if most_to_one <= 1 else 'YES'} |",
        flush=True,
    )
    keep(asked.results, f"rate_{'restart' if restart else 'steady'}", found)


def densest(times: list[int]) -> int:
    """The largest number of messages in any window of one second."""
    first = most = 0
    for last, moment in enumerate(times):
        while times[first] <= moment - SECOND:
            first += 1
        most = max(most, last - first + 1)
    return most


def observe(ground: Ground, asked: argparse.Namespace, *, restart: bool) -> tuple[list[int], int]:
    """When each message came, and the most that one address got."""
    with ground.copy("trial_rate") as database:
        environment = ground.environment(database)
        ground.sink.reset()
        with ours.workers(environment, asked.workers) as workers:
            ours.Starter(environment, ground.automation).go()
            _wait_for_more(ground)
            if restart:
                time.sleep(asked.seconds / 2)
                say("restarting all workers")
                for worker in workers:
                    worker.terminate()
                for worker in workers:
                    worker.wait()
                workers[:] = [ours.start_worker(environment) for _ in workers]
                _wait_for_more(ground)
                time.sleep(asked.seconds / 2)
            else:
                time.sleep(asked.seconds + 1)
            return ground.sink.times(), ground.sink.counts()["most"]


def _wait_for_more(ground: Ground) -> None:
    """Until a message comes beyond those that are there."""
    deadline, there = time.monotonic() + 60, ground.sink.counts()["messages"]
    while ground.sink.counts()["messages"] == there:
        if time.monotonic() > deadline:
            raise SystemExit("No message came")
        time.sleep(0.02)


if __name__ == "__main__":
    main()
