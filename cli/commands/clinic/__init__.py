"""`orthoedge clinic`: the page of a clinic, its history and its accounts."""

from __future__ import annotations

import argparse
import errno
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from orthoedge.cli import options
from orthoedge.cli.history import check_history, open_history, shell_user
from orthoedge.cli.terminal import printable
from orthoedge.runtime.errors import ConfigError, DataError

if TYPE_CHECKING:
    from orthoedge.clinic.history import History
    from orthoedge.clinic.server.settings import ClinicSettings

_ROLES = ("operator", "physician", "administrator")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    _add_place(parser, default=None)
    parser.add_argument(
        "--port", type=options.positive, metavar="N", help="TCP port (default: 8420)"
    )
    parser.add_argument(
        "--no-browser", dest="browser", action="store_false", help="do not open the page"
    )
    options.add_bundle(parser)
    options.add_target(parser)
    actions = parser.add_subparsers(
        metavar="ACTION",
        dest="action",
        title="actions",
        description="Without an ACTION the page is served.",
    )
    backup = "copy the history into a folder, or bring a former copy up to date"
    restore = "make the history from a backup, after every byte of it was checked"
    export = "write the physicians' opinions as a table, without patients' names"
    for name, help_text, argument, argument_help in (
        ("backup", backup, "DIR", "folder of the backup, best on another disk"),
        ("restore", restore, "DIR", "folder of the backup; --folder is that of the new history"),
        ("check", "compare the history with itself, and every pixel with its hash", "", ""),
        ("export", export, "FILE", "the table, CSV"),
    ):
        action = actions.add_parser(name, help=help_text, description=help_text)
        _add_place(action, default=argparse.SUPPRESS)
        if argument:
            action.add_argument("path", type=Path, metavar=argument, help=argument_help)
    help_text = "bring the history to an earlier version, for the older program that reads it"
    downgrade = actions.add_parser("downgrade", help=help_text, description=help_text)
    _add_place(downgrade, default=argparse.SUPPRESS)
    downgrade.add_argument("schema", type=options.positive, metavar="N", help="that version")
    help_text = "add or remove the account of a user, or list all"
    account = actions.add_parser("account", help=help_text, description=help_text)
    changes = account.add_subparsers(metavar="CHANGE", dest="change", required=True)
    for name, help_text in (
        ("add", "add an account or replace it; the password is asked for, or read from stdin"),
        ("remove", "remove an account"),
        ("list", "list the accounts"),
    ):
        change = changes.add_parser(name, help=help_text, description=help_text)
        _add_place(change, default=argparse.SUPPRESS)
        if name != "list":
            change.add_argument("name", metavar="NAME")
        if name == "add":
            change.add_argument("--role", required=True, choices=_ROLES, help="what it may do")


def _add_place(parser: argparse.ArgumentParser, default: str | None) -> None:
    """`--settings` and `--folder`; those of an action do not undo those before it."""
    parser.add_argument(
        "--settings",
        type=Path,
        metavar="FILE",
        default=default,
        help="settings of the server, TOML, with TLS where other machines are to reach it",
    )
    parser.add_argument(
        "--folder",
        type=Path,
        metavar="DIR",
        default=default,
        help="folder of the history (default: $XDG_DATA_HOME/orthoedge/clinic or "
        "~/.local/share/orthoedge/clinic)",
    )


def run(args: argparse.Namespace) -> int:
    """Serve the page until SIGTERM or Ctrl-C, or run one action; `check` exits 1 on damage."""
    actions = {
        None: _serve,
        "backup": _back_up,
        "restore": _restore,
        "check": _check,
        "export": _export,
        "downgrade": _downgrade,
        "account": _change_account,
    }
    return actions[args.action](args)


def _serve(args: argparse.Namespace) -> int:
    from orthoedge.clinic.server.serve import serve

    def ready(address: str) -> None:
        print(f"{address}  (end with Ctrl-C)", flush=True)
        if args.browser:
            import webbrowser

            webbrowser.open(address)

    return serve(_settings(args), ready)


def _back_up(args: argparse.Namespace) -> int:
    from orthoedge.clinic.file_system import check_owner
    from orthoedge.clinic.history.backup import back_up

    check_owner(args.path)
    with _history(args) as history:
        copied = back_up(history, args.path)
        history.note(shell_user(), "backed up", detail=f"{copied.findings} findings")
    print(f"{args.path}: {copied.findings} findings, {copied.new_files} new files of pixels")
    return 0


def _restore(args: argparse.Namespace) -> int:
    from orthoedge.clinic.history.backup import restore

    folder = _settings(args).history_folder
    copied = restore(args.path, folder)
    with open_history(folder) as history:
        history.note(shell_user(), "restored", detail=f"{copied.findings} findings")
    print(f"{folder}: {copied.findings} findings restored; add the accounts again")
    return 0


def _check(args: argparse.Namespace) -> int:
    from orthoedge.clinic.history.backup import check_history

    folder = _folder_with_history(args)
    problems: tuple[str, ...]
    try:
        with open_history(folder) as history:
            problems = check_history(history)
    except DataError as error:  # so damaged that it cannot be opened
        problems = (str(error),)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        problems = (f"{error.filename}: {error.strerror}",)
    for problem in problems:
        print(f"FAIL  {printable(problem)}")
    if not problems:
        print(f"pass  {folder}")
    return 1 if problems else 0


def _export(args: argparse.Namespace) -> int:
    from orthoedge.clinic.history.export import is_export, opinions_csv
    from orthoedge.runtime.atomic_files import write_atomic

    if not is_export(args.path):
        raise ConfigError(f"{args.path}: holds something else; choose a new file, or a former one")
    with _history(args) as history:
        history.note(shell_user(), "exported", detail="opinions")
        write_atomic(args.path, opinions_csv(history).encode())
    print(args.path)
    return 0


def _downgrade(args: argparse.Namespace) -> int:
    from orthoedge.clinic.file_system import only_one
    from orthoedge.clinic.history.history import LOCK

    folder = _folder_with_history(args)
    what = f"{folder}: a server, a backup or a restore uses this folder at the moment"
    with only_one(folder / LOCK, what, "end it first"), open_history(folder) as history:
        history.downgrade(args.schema, shell_user())
    print(f"{folder}: of version {args.schema}; this program would bring it to its own again")
    return 0


def _change_account(args: argparse.Namespace) -> int:
    from orthoedge.clinic.accounts import Accounts

    folder = _settings(args).history_folder
    accounts = Accounts(folder)
    if args.change == "add":
        accounts.add(args.name, args.role, _password())
        _note_account(folder, "account added", f"{args.name}: {args.role}")
        if not accounts.has_administrator():
            print(
                "until there is an administrator, nobody can delete, back up or read the audit "
                "trail on the page: orthoedge clinic account add NAME --role administrator",
                file=sys.stderr,
            )
    elif args.change == "remove":
        accounts.remove(args.name)
        _note_account(folder, "account removed", args.name)
    for name in accounts.names():
        account = accounts.get(name)
        print(f"{name}: {account.role if account else ''}")
    return 0


def _note_account(folder: Path, action: str, detail: str) -> None:
    """Enter a change of the accounts into the audit trail, once there is a history."""
    from orthoedge.clinic.history.history import DATABASE

    if (folder / DATABASE).is_file():  # a new one would stand in the way of a restore
        with open_history(folder) as history:
            history.note(shell_user(), action, detail=detail)


def _password() -> str:
    """The password, typed twice at a terminal, else the first line of standard input.

    Raises:
        ConfigError: the two differ.
    """
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    import getpass

    password = getpass.getpass("Password: ")
    if password != getpass.getpass("Once more: "):
        raise ConfigError("the two passwords differ")
    return password


def _history(args: argparse.Namespace) -> closing[History]:
    """Open the history, which must be there.

    Raises:
        DataError: it is not, or is damaged.
    """
    return open_history(_folder_with_history(args))


def _folder_with_history(args: argparse.Namespace) -> Path:
    """Folder of the history.

    Raises:
        DataError: it holds none.
    """
    folder = _settings(args).history_folder
    check_history(folder, "--folder")
    return folder


def _settings(args: argparse.Namespace) -> ClinicSettings:
    """The settings of the file, or those that the options stand for.

    Raises:
        ConfigError: both are given, --folder is a file, or the folder is not this user's.
    """
    from orthoedge.clinic.file_system import check_owner

    settings = _given_settings(args)
    check_owner(settings.history_folder)
    return settings


def _given_settings(args: argparse.Namespace) -> ClinicSettings:
    from orthoedge.clinic.server.settings import (
        ClinicSettings,
        default_folder,
        read_clinic_settings,
    )
    from orthoedge.clinic.settings import EngineSettings

    engine = args.target, args.precision
    if args.settings:
        if args.folder or args.port or args.bundle or engine != ("x86", "auto"):
            raise ConfigError(
                "--folder, --port, --bundle, --target and --precision stand in the file of "
                "--settings"
            )
        return read_clinic_settings(args.settings)
    if args.folder and args.folder.exists() and not args.folder.is_dir():
        raise ConfigError(f"--folder {args.folder}: not a folder")
    bundle = "" if args.bundle is None else str(args.bundle.absolute())
    return ClinicSettings(
        folder=str((args.folder or default_folder()).absolute()),
        port=args.port or 8420,
        engine=EngineSettings(bundle=bundle, target=args.target, precision=args.precision),
    )
