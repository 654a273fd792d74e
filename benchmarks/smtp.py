"""E-mail through SMTP beside its ideal loop (pipelined, letters from one template, one write each).

python -m benchmarks.smtp                 30,000 letters into our sink and into postfix's smtp-sink
python -m benchmarks.smtp --trap          only: what several small writes a letter cost
"""

import argparse
import dataclasses
import socket
import time

from benchmarks import contest, meters, sink
from benchmarks.contest import Ground, keep, say, table


class SilentSink:
    """postfix's smtp-sink counts for itself alone: the ledger's own counts are used instead."""

    def counts(self) -> dict[str, int]:
        return {"messages": 0, "first_ns": 0}

    def reset(self) -> None:
        pass

    def cpu_seconds(self) -> float:
        return 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--messages", type=int, default=30_000)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--sinks", nargs="+", choices=["ours", "postfix"], default=["ours", "postfix"])
    parser.add_argument("--trap", action="store_true", help="only the price of several writes a letter")
    parser.add_argument("--folder", help="where the database's files go (default: temporary files)")
    parser.add_argument("--results", help="a JSON file to add the figures to")
    asked = parser.parse_args()
    if not asked.trap:
        with contest.ground("smtp", asked.folder) as ground:
            print(f"{meters.machine_line(ground.server.settings())}\n")
            for name in asked.sinks:
                into(name, ground, asked)
    trap(asked)


def into(name: str, ground: Ground, asked: argparse.Namespace) -> None:
    """The contest into one of the two sinks."""
    if name == "ours":
        return compare("our sink", "smtp", ground, asked)
    with sink.postfix_smtp_sink() as port:
        if port is None:
            return print("postfix's smtp-sink is not installed (apt-get install postfix): left out\n")
        other = dataclasses.replace(ground, sink=SilentSink(), port=port)
        return compare("postfix's smtp-sink", "smtp_postfix", other, asked)


def compare(words: str, name: str, ground: Ground, asked: argparse.Namespace) -> None:
    ground.build(asked.messages, "email")
    for processes in asked.workers:
        found = contest.interleaved(ground, processes, asked.pairs)
        print(
            f"{asked.messages:,} letters into {words}, {processes} sending process(es), {asked.pairs} pairs\n"
        )
        print(f"{table(found)}\n", flush=True)
        keep(asked.results, f"{name}_{processes}", [each.as_json() for each in found])
    ground.server.drop(ground.template)


def trap(asked: argparse.Namespace) -> None:
    """One connection, plain sockets: the text of a letter in one write, and in three."""
    with sink.postfix_smtp_sink() as port:
        if port is None:
            return
        rates = {writes: _rate(port, writes, 2_000 if writes == 1 else 100) for writes in (1, 3)}
    say("")
    print("| one connection into postfix's smtp-sink | letters a second |\n| --- | ---: |")
    print(f"| each letter in one write | {rates[1]:,.0f} |")
    print(f"| each letter in three small writes (Nagle waits for the delayed ACK) | {rates[3]:,.0f} |\n")
    keep(asked.results, "smtp_trap", rates)


def _rate(port: int, writes: int, letters: int) -> float:
    head, body = b"From: hola@example.com\r\nSubject: Hola\r\n\r\n", b"Hola\r\n" * 20
    pieces = [head + body + b".\r\n"] if writes == 1 else [head, body, b".\r\n"]
    with socket.create_connection(("127.0.0.1", port)) as connection:
        answers = connection.makefile("rb")
        answers.readline()

        def command(text: bytes) -> None:
            connection.sendall(text)
            answers.readline()

        command(b"HELO bench.example.com\r\n")
        begun = time.monotonic()
        for _ in range(letters):
            command(b"MAIL FROM:<hola@example.com>\r\n")
            command(b"RCPT TO:<guest1@example.com>\r\n")
            command(b"DATA\r\n")
            for piece in pieces:
                connection.sendall(piece)
            answers.readline()
        return letters / (time.monotonic() - begun)


if __name__ == "__main__":
    main()
