"""The command line: `python -m server serve | migrate | check-config | doctor | version`."""

import argparse
import asyncio
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy.exc import OperationalError

from server import __version__
from server.app import create_app, drain
from server.bus.interface import BusUnavailable
from server.config.problems import InvalidConfiguration
from server.config.settings import Settings
from server.config.shown import effective
from server.config.sources import Loaded, load
from server.doctor import diagnose
from server.runtime import logs
from server.runtime.data import DataDirectoryInUse, with_secret
from server.runtime.serving import serve
from server.runtime.workers import supervise
from server.store.errors import SchemaOutdated, StoreUnavailable

_log = logging.getLogger("server")


def main(arguments: Sequence[str] | None = None) -> int:
    """Gives the exit code: 0 done, 1 failed, 2 the command or the configuration is wrong."""
    options = _parser().parse_args(arguments)
    if options.command == "version":
        print(f"ichat {__version__}")
        return 0
    try:
        loaded = load(options.config)
    except InvalidConfiguration as error:
        print("The configuration can't be used:", file=sys.stderr)
        for problem in error.problems:
            print(f"  {problem}", file=sys.stderr)
        return 2
    logs.configure(loaded.settings.log_level, "text" if loaded.settings.dev else loaded.settings.log.format)
    for warning in loaded.warnings:
        _log.warning("%s", warning)
    match options.command:
        case "check-config":
            return _check_config(loaded)
        case "migrate":
            return _migrate(loaded.settings)
        case "doctor":
            return _doctor(loaded.settings)
        case _:
            return _serve(loaded.settings, options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m server", description="ichat: chat and calling service")
    parser.add_argument("--config", type=Path, metavar="FILE", help="configuration file (default: config.yml if there)")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    serving = commands.add_parser("serve", help="serve HTTP and WebSockets until SIGTERM")
    serving.add_argument("--workers", type=int, default=1, metavar="N", help="processes on one port (needs Redis)")
    serving.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    commands.add_parser("migrate", help="bring the database up to date, also one of schema v0")
    commands.add_parser("check-config", help="show the effective configuration and where each value comes from")
    commands.add_parser("doctor", help="compare database and bus, and list calls in which they don't agree")
    commands.add_parser("version", help="print the version")
    return parser


def _check_config(loaded: Loaded) -> int:
    rows = list(effective(loaded))
    width = max(len(key) for key, _, _ in rows)
    for key, value, source in rows:
        print(f"{key:<{width}}  {value}  [{source}]")
    return 0


def _migrate(settings: Settings) -> int:
    from server.store.migrations import migrate  # noqa: PLC0415  see `server.store.revision`

    try:
        report = asyncio.run(migrate(settings))
    except (StoreUnavailable, SchemaOutdated, OperationalError) as error:
        print(f"The database could not be migrated: {_reason(error)}", file=sys.stderr)
        return 1
    if report.changed:
        print(f"{report.database}: from {report.before or 'nothing'} to {report.after}")
        for step in report.done:
            print(f"  {step}")
    else:
        print(f"{report.database}: up to date at {report.after}")
    return 0


def _doctor(settings: Settings) -> int:
    """Gives 0 where all agrees, 1 where something doesn't, 2 where it can't be looked at."""
    try:
        diagnosis = asyncio.run(diagnose(settings))
    except (StoreUnavailable, SchemaOutdated) as error:
        print(f"The database can't be looked at: {error}", file=sys.stderr)
        return 2
    except BusUnavailable as error:
        print(f"Redis can't be looked at: {error}", file=sys.stderr)
        return 2
    print("\n".join(diagnosis.lines()))
    return 1 if diagnosis.findings else 0


def _serve(settings: Settings, options: argparse.Namespace) -> int:
    if options.workers < 1:
        print("--workers: at least 1", file=sys.stderr)
        return 2
    try:
        if options.workers > 1:
            if settings.redis is None:
                print("--workers: several processes need Redis between them", file=sys.stderr)
                return 2
            config = ["--config", str(options.config)] if options.config else []
            return supervise(settings, options.workers, [*config, "serve", "--worker"])
        settings, secret_file = with_secret(settings)
        if secret_file is not None:
            _log.warning("no jwt.secret is configured: using the one kept in %s", secret_file)
        serve(settings, create_app, drain, worker=options.worker)
    except (StoreUnavailable, SchemaOutdated, OperationalError) as error:
        print(f"The database can't be used: {_reason(error)}", file=sys.stderr)
        return 1
    except BusUnavailable as error:
        print(f"Redis can't be reached: {error}", file=sys.stderr)
        return 1
    except (OSError, DataDirectoryInUse) as error:
        print(f"Can't serve: {error}", file=sys.stderr)
        return 1
    return 0


def _reason(error: Exception) -> object:
    """Without the statement and the advice that SQLAlchemy adds to what the database said (a wrong password, say)."""
    return error.orig if isinstance(error, OperationalError) else error


if __name__ == "__main__":
    sys.exit(main())
