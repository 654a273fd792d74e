"""E-mail in batches beside the ideal loop that makes the same calls: Brevo's contract, 32 letters a call.

python -m benchmarks.batches              100,000 personal letters into our sink, 1 and 2 workers, A B A B
"""

import argparse

from benchmarks import contest, meters
from benchmarks.contest import keep, table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--delay-ms", type=int, default=0, help="how long the sink takes to answer a call")
    parser.add_argument("--only", choices=["ideal", "ours"], help="one side, to look at it closely")
    parser.add_argument("--folder", help="where the database's files go (default: temporary files)")
    parser.add_argument("--results", help="a JSON file to add the figures to")
    asked = parser.parse_args()
    with contest.ground("http", asked.folder, asked.delay_ms) as ground:
        print(f"{meters.machine_line(ground.server.settings())}\n")
        ground.build(asked.messages, "email", kind="brevo")
        for processes in asked.workers:
            if asked.only:
                one = contest.run_ideal if asked.only == "ideal" else contest.run_ours
                for _ in range(asked.pairs):
                    print(contest.short(one(ground, processes)), flush=True)
                continue
            found = contest.interleaved(ground, processes, asked.pairs)
            print(f"{asked.messages:,} letters, {processes} sending process(es), {asked.pairs} pairs\n")
            print(f"{table(found)}\n", flush=True)
            keep(asked.results, f"batches_{processes}", [each.as_json() for each in found])


if __name__ == "__main__":
    main()
