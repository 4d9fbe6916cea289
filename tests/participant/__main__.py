"""People without a screen who try a server: they register, call each other and talk."""

import argparse
import asyncio
import sys
from urllib.parse import urlsplit

from tests.participant.trial import Trial, TrialFailed

_MOST = 20
OK, SOMEBODY_DID_NOT, NO_TRIAL, INTERRUPTED = 0, 1, 2, 130


def main() -> int:
    given = _parser().parse_args()
    trial = Trial(given.url, given.people, given.seconds, relay_only=given.relay)
    try:
        worked = asyncio.run(trial.run())
    except TrialFailed as failure:
        print(failure, file=sys.stderr)
        return NO_TRIAL
    except KeyboardInterrupt:
        print("interrupted: everybody has hung up", file=sys.stderr)
        return INTERRUPTED
    return OK if worked else SOMEBODY_DID_NOT


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tests.participant", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    call = commands.add_parser(
        "call",
        help="let some people talk in a call and say who heard and saw whom",
        description="Registers people with random names, makes them contacts (more than two: a group), lets them talk "
        "in a call and prints who heard and saw whom. Each sends a tone and a moving picture of their own and listens "
        f"for those of the others. Exits with {OK} if everybody heard and saw everybody, {SOMEBODY_DID_NOT} if "
        f"somebody didn't, {NO_TRIAL} if it didn't come to a call.",
    )
    call.add_argument("url", metavar="URL", type=_address, help="the server, such as http://127.0.0.1:8080")
    call.add_argument("--people", type=_count, default=2, help=f"how many, from 2 to {_MOST} (default: 2)")
    call.add_argument("--seconds", type=_seconds, default=10.0, help="how long they talk (default: 10)")
    call.add_argument(
        "--relay", action="store_true", help="send everything through the TURN servers that the server tells"
    )
    return parser


def _address(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise argparse.ArgumentTypeError(f"{text!r} isn't the address of a server, such as http://127.0.0.1:8080")
    return text.rstrip("/")


def _count(text: str) -> int:
    if not text.isdecimal() or not 2 <= int(text) <= _MOST:
        raise argparse.ArgumentTypeError(f"{text!r} isn't a number from 2 to {_MOST}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} isn't a time in seconds")
    return seconds


if __name__ == "__main__":
    sys.exit(main())
