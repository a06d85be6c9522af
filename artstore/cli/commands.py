"""Commands: which there are, and what their errors become.

Imports neither the store nor anything it needs; a command's module is imported when the command runs.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import gc
import importlib
import io
import json
import keyword
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple, NoReturn

import click
from click.shell_completion import CompletionItem

from artstore.cli import shells as _shells  # noqa: F401 - registers them
from artstore.cli.options import Call, shared_options, write_examples
from artstore.cli.printing import UNCHANGED, printing
from artstore.errors import ArtstoreError
from artstore.plain import escape, plain

INTERRUPTED: Final = 130
_COLLECTED_AFTER: Final = (50_000, 20, 100)
_LAST_STANDARD_STREAM: Final = 2
PIPE_CLOSED: Final = 141
"""What a shell reports for a program that SIGPIPE ended, as `cat` is by `head`."""


class Line(NamedTuple):
    """A command as the list of commands shows it; the function of that name is in `artstore.cli.<module>`."""

    name: str
    module: str
    help: str


COMMANDS: Final = {
    "Keep and take": (
        Line("put", "put", "Keep files and folders as a version."),
        Line("get", "get", "Write a version's files into a folder, verified."),
        Line("watch", "watch", "Make a version of a folder whenever it changes."),
        Line("cat", "get", "Write one file of a version to standard output."),
        Line("import", "importing", "Take over the runs and artifacts of wandb."),
        Line("artifact", "artifact", "Put, get and list artifacts in the words of W&B."),
    ),
    "Look": (
        Line("ls", "look", "List the collections, or the files of a version."),
        Line("show", "look", "Show what is known about a version."),
        Line("log", "look", "List the versions of a collection, newest first."),
        Line("diff", "look", "Compare a version with another, or with a folder."),
        Line("find", "look", "Find versions by digest, path or metadata."),
        Line("lineage", "lineage", "Show what a version came from, and what came from it."),
        Line("runs", "runs", "List the runs, newest first."),
        Line("run", "runs", "Show a run, what it used and what it made."),
        Line("ui", "ui", "Show what is in the store as pages for a browser."),
        Line("parts", "parts", "List the parts of versions that nobody has finished."),
    ),
    "Label": (
        Line("alias", "label", "Move aliases to a version, or take them away."),
        Line("tag", "label", "Put tags on a version or a collection, or take them away."),
        Line("describe", "label", "Set the description of a version or a collection."),
        Line("metadata", "label", "Show or change a version's metadata."),
        Line("ttl", "label", "Say how long a version is wanted."),
    ),
    "Arrange": (
        Line("rename", "arrange", "Give a collection another name."),
        Line("retype", "arrange", "Give a collection another type."),
        Line("copy", "arrange", "Make a version known under another name."),
        Line("link", "arrange", "Put a version into a portfolio."),
        Line("unlink", "arrange", "Take a version out of a portfolio."),
        Line("delete", "arrange", "Delete versions, or collections."),
        Line("drop", "parts", "Give up parts of versions that nobody will finish."),
        Line("prune", "prune", "Delete versions by rules."),
    ),
    "Share": (
        Line("remote", "remote", "Name the places that this store replicates to."),
        Line("push", "moving", "Send committed versions to the upstream, or to a mirror."),
        Line("pull", "moving", "Take what others have pushed to the upstream, or to a mirror."),
        Line("sync", "moving", "Pull and push: afterwards the upstream and this store know the same versions."),
        Line("serve", "serve", "Be the server that other stores push to and pull from."),
        Line("token", "token", "Say who may push to this store and pull from it, when it is served."),
        Line("explain", "moving", "Show which bytes of a version would be sent, file by file, and why."),
        Line("bundle", "bundle", "Carry versions to another store in a file."),
        Line("numbers", "agreeing", "Show and accept numbers that changed, since others pushed first."),
        Line("conflicts", "agreeing", "List changes of this store that others made impossible."),
        Line("resolve", "agreeing", "Say what becomes of a change that others made impossible."),
    ),
    "Space": (
        Line("du", "space", "Show what each collection takes up."),
        Line("status", "space", "Show the store at a glance."),
        Line("evict", "evict", "Free the bytes of versions that a remote has."),
        Line("gc", "space", "Free the space of what nothing refers to."),
    ),
    "Health": (
        Line("verify", "health", "Check that everything kept is whole."),
        Line("repair", "health", "Mend what is damaged, from other copies."),
        Line("rebuild", "health", "Make the catalog again from the journal."),
        Line("doctor", "health", "Look at what the store stands on."),
        Line("backup", "health", "Copy the store, even while it is in use."),
    ),
    "Begin": (
        Line("init", "setup", "Make a store."),
        Line("demo", "demo", "Put a tree twice, get it back, and check every byte."),
        Line("completion", "setup", "Print the completion script for a shell."),
    ),
}

EXAMPLES: Final = (
    "artstore put photos --name cats --type dataset",
    "artstore get cats:latest ./photos",
)


class Door(click.Group):
    """The group of all commands: lists them from the table, imports only the one that runs."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read what stands before the command, and print the help or the version that it asks for."""
        with printing(UNCHANGED):
            return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands in the order of the table."""
        del ctx
        return [line.name for lines in COMMANDS.values() for line in lines]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module; None for a name that the table does not have."""
        del ctx
        for lines in COMMANDS.values():
            for line in lines:
                if line.name == cmd_name:
                    function = f"{cmd_name}_" if keyword.iskeyword(cmd_name) else cmd_name
                    command: click.Command = getattr(importlib.import_module(f"artstore.cli.{line.module}"), function)
                    return command
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table, one section a theme."""
        width = max(map(len, self.list_commands(ctx)))
        for title, lines in COMMANDS.items():
            with formatter.section(title):
                # Padded to one width: each section alone would align its own column.
                formatter.write_dl([(line.name.ljust(width), line.help) for line in lines])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write how a day with artstore begins."""
        write_examples(formatter, EXAMPLES)
        super().format_epilog(ctx, formatter)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete command names from the table; the inherited way would import every command."""
        found = [
            CompletionItem(line.name, help=line.help)
            for lines in COMMANDS.values()
            for line in lines
            if line.name.startswith(incomplete)
        ]
        return found + click.Command.shell_complete(self, ctx, incomplete)

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; a closed pipe leaves as an exception of our own, since click would answer it with exit 1."""
        try:
            return super().invoke(ctx)
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise _PipeClosed from error
            raise


class _PipeClosed(Exception):
    """Whoever read our output has seen enough."""


door = Door(
    name="artstore",
    params=shared_options(),
    help="Keep every dataset, checkpoint and result once, versioned and verified, without a server.",
)


def run() -> NoReturn:
    """Be the process of one command, and end with its exit code.

    What the command made is not taken apart, object by object: the system frees all of it at once, which is 20 ms less
    after 10,000 files.
    """
    _begin_in_utf8()
    # What a command makes by the hundred thousand are values without cycles, and so are the modules that it imports:
    # looking for some takes 5 % of its time.
    gc.set_threshold(*_COLLECTED_AFTER)
    _end_in_order()
    code = main()
    atexit._run_exitfuncs()  # noqa: SLF001 - what others want done at the end is done; `os._exit` alone leaves it out
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; see artstore.errors for what the codes mean."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    call = Call()
    _replace_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A file name that the terminal's encoding lacks is printed escaped, and stops nothing.
            stream.reconfigure(errors="backslashreplace")
    try:
        code = door.main(arguments, prog_name="artstore", standalone_mode=False, obj=call)
        with printing("the command has done its work"):
            sys.stdout.flush()
    except (click.Abort, KeyboardInterrupt):
        code = INTERRUPTED
    except _Ended as ended:
        code = 128 + ended.number
    except (_PipeClosed, BrokenPipeError):
        _hang_up()
        code = PIPE_CLOSED
    except (ArtstoreError, click.ClickException, OSError) as error:
        # What cannot be parsed may have stopped before `--json` was reached.
        code = _complain(error, as_json=call.json or (isinstance(error, click.UsageError) and "--json" in arguments))
    return code if isinstance(code, int) else 0


def _begin_in_utf8() -> None:
    """Be this command again, with the names of files in UTF-8, where the locale has another encoding.

    What is printed stays in the locale's, which is the terminal's. Without the interpreter's name the store refuses.
    """
    if sys.getfilesystemencoding() == "utf-8" or sys.flags.utf8_mode or not sys.executable:
        return
    if sys.stdout is not None:
        os.environ.setdefault("PYTHONIOENCODING", sys.stdout.encoding)
    # As an option before all others: it counts where `-E` or `-I` let Python ignore the environment.
    os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])  # noqa: S606 - this very command


class _Ended(BaseException):
    """Somebody wants this process to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def _end_in_order() -> None:
    """Let a scheduler's SIGTERM and a closed terminal's SIGHUP end the command as Ctrl-C does, with all cleared up.

    The second one ends it at once. A signal that whoever began this process lets it ignore stays ignored.
    """

    def end(number: int, _frame: object) -> NoReturn:
        signal.signal(number, signal.SIG_DFL)
        raise _Ended(number)

    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, end)


def _replace_closed_streams() -> None:
    """Write to nobody where the caller closed standard output or error.

    A file takes the lowest number that is free. None of the store's may take that of a standard stream, to which
    whatever lies below Python would go on printing.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= _LAST_STANDARD_STREAM:
        pass
    if sys.stdout is None:
        sys.stdout = os.fdopen(os.dup(number), "w", encoding="utf-8")
    if sys.stderr is None:
        sys.stderr = os.fdopen(os.dup(number), "w", encoding="utf-8")
    os.close(number)


def _complain(error: ArtstoreError | click.ClickException | OSError, *, as_json: bool) -> int:
    """Print what went wrong and return the exit code for it. Errors that are not one of these are bugs: a traceback."""
    exit_code = 1
    message = str(error)
    if isinstance(error, ArtstoreError):
        code, exit_code = error.code, error.exit_code
    elif isinstance(error, click.ClickException):
        code, exit_code, message = "usage", error.exit_code, error.format_message()
    else:
        code = errno.errorcode.get(error.errno or 0, "os-error").lower()
        if not _has_a_place():
            message = "the folder that this command was started in is gone: go to one that is there, and repeat"
    if as_json:
        about: dict[str, object] = {"code": code, "class": type(error).__name__, "message": message}
        if isinstance(error, ArtstoreError) and error.problems:
            about["problems"] = [plain(problem._asdict()) for problem in error.problems]
        click.echo(json.dumps({"error": about}), err=True)
    elif isinstance(error, click.ClickException):
        error.show()
    else:
        click.echo(f"artstore: {escape(message)}", err=True)
    return exit_code


def _has_a_place() -> bool:
    try:
        Path.cwd()
    except FileNotFoundError:
        return False
    return True


def _hang_up() -> None:
    # What is still buffered has nowhere to go, and must not make a noise when Python flushes it at exit.
    # Where standard output has no file descriptor, nothing will be flushed into a pipe.
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
