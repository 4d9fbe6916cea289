"""Runs every benchmark and prints its tables: `.venv/bin/python -m tests.bench [NAME …]`."""

import argparse
from importlib import import_module

from tests.bench.rig import describe_machine, run_alone

NAMES = ("reference", "chat", "idle", "calls")


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(NAMES)}; none: all")
    names = parser.parse_args().names or NAMES
    print(describe_machine(), end="\n\n")
    for name in names:
        for table in run_alone(import_module(f"tests.bench.{name}").run):
            print(table.markdown(), flush=True)


if __name__ == "__main__":
    main()
