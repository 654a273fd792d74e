"""How fast a run is, beside the ideal loop; how it grows; what memory it takes.

python -m benchmarks.sending                       100,000 text messages, one worker and two, A B A B
python -m benchmarks.sending --growth              1k, 10k, 100k; then behind a ledger of 1M and 10M
python -m benchmarks.sending --growth --million    the same with a run of 1,000,000
python -m benchmarks.sending --memory              peak memory and first message at 10,000 and 1,000,000
"""

import argparse
from dataclasses import replace

from benchmarks import contest, meters
from benchmarks.contest import Ground, keep, say, table
from benchmarks.trial import Figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--delay-ms", type=int, default=0, help="how long the sink takes to answer")
    parser.add_argument("--only", choices=["ideal", "ours"], help="one side, to look at it closely")
    parser.add_argument("--growth", action="store_true")
    parser.add_argument("--million", action="store_true", help="with --growth: also 1,000,000 messages")
    parser.add_argument("--ledgers", type=int, nargs="*", default=[1_000_000, 10_000_000])
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--sizes", type=int, nargs="+", help="with --growth or --memory: other sizes")
    parser.add_argument("--folder", help="where the database's files go (default: temporary files)")
    parser.add_argument("--results", help="a JSON file to add the figures to")
    asked = parser.parse_args()
    with contest.ground("http", asked.folder, asked.delay_ms) as ground:
        if asked.growth:
            growth(ground, asked)
        elif asked.memory:
            memory(ground, asked)
        else:
            compare(ground, asked)


def compare(ground: Ground, asked: argparse.Namespace) -> None:
    """The ideal loop and our run, for each number of workers."""
    line = meters.machine_line(ground.server.settings())
    print(f"{line}\n")
    ground.build(asked.messages, "sms")
    for processes in asked.workers:
        if asked.only:
            one = contest.run_ideal if asked.only == "ideal" else contest.run_ours
            found = [one(ground, processes) for _ in range(asked.pairs)]
            for each in found:
                print(contest.short(each), each.by_table, sep="\n")
            continue
        found = contest.interleaved(ground, processes, asked.pairs)
        print(f"{asked.messages:,} messages, {processes} sending process(es), {asked.pairs} pairs\n")
        print(f"{table(found)}\n")
        print(f"Bytes on disk a message, by table: {found[-1].by_table}\n")
        document = {"machine": line, "trials": [each.as_json() for each in found]}
        keep(asked.results, f"sending_{processes}", document)


def growth(ground: Ground, asked: argparse.Namespace) -> None:
    """Time per message as the run grows, and as the ledger behind it does."""
    print("| run | ledger before | ms a message | of that, planning | on disk a message | ratio |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: |")
    sizes = asked.sizes or [1_000, 10_000, 100_000, *([1_000_000] if asked.million else [])]
    found: list[tuple[int, int, Figures]] = []
    for size in sizes:
        found.append((size, 0, _median_of_ours(ground, asked, size, 0)))
        _growth_line(found)
    for ledger in asked.ledgers:
        size = min(100_000, max(sizes))
        found.append((size, ledger, _median_of_ours(ground, asked, size, ledger)))
        _growth_line(found)
    rows = [{"messages": n, "ledger": m, **figures.as_json()} for n, m, figures in found]
    keep(asked.results, "growth", rows)


def _median_of_ours(ground: Ground, asked: argparse.Namespace, size: int, ledger: int) -> Figures:
    more = ["--ledger", str(ledger)] if ledger else []
    ground.build(size, "sms", *more)
    times = 1 if size >= 1_000_000 else asked.pairs
    found = sorted((contest.run_ours(ground, 1) for _ in range(times)), key=lambda each: each.wall)
    ground.server.drop(ground.template)
    return found[len(found) // 2]


def _growth_line(found: list[tuple[int, int, Figures]]) -> None:
    """The ratio is to a run of 10,000 on an empty ledger (or the first there is)."""
    base = next((f for n, m, f in found if n == 10_000 and not m), found[0][2])
    size, ledger, figures = found[-1]
    each = figures.wall * 1000 / size
    share = figures.planning * 1000 / size
    ratio = each / (base.wall * 1000 / base.messages)
    print(
        f"| {size:,} | {ledger:,} | {each:.3f} | {share:.3f} | {figures.disk_bytes:,.0f} | {ratio:.2f} |",
        flush=True,
    )


def memory(ground: Ground, asked: argparse.Namespace) -> None:
    """Peak memory of a worker, and how long the first message takes."""
    print("| guests | peak memory of the worker, MB | first message after, s | wall, s | messages a second |")
    print("| ---: | ---: | ---: | ---: | ---: |")
    found = []
    for size in asked.sizes or [10_000, 1_000_000]:
        ground.build(size, "sms")
        figures = contest.run_ours(ground, 1)
        ground.server.drop(ground.template)
        found.append({"messages": size, **replace(figures, by_table={}).as_json()})
        print(
            f"| {size:,} | {figures.peak_mb:.0f} | {figures.first_message:.2f} | {figures.wall:.1f} | "
            f"{figures.rate:,.0f} |",
            flush=True,
        )
        say(f"{figures.outcome}")
    keep(asked.results, "memory", found)


if __name__ == "__main__":
    main()
