"""The command line. Only click and the commands' options are imported: `--help` must be instant."""

from __future__ import annotations

import gc
import importlib
import io
import sys
from pathlib import Path
from typing import NoReturn

import click
from click.shell_completion import CompletionItem

from lorascale_lint import __version__
from lorascale_lint.collecting import rarely_collected
from lorascale_lint.commands.options import examples
from lorascale_lint.console import complain, discard, open_missing
from lorascale_lint.errors import InputError

COMMANDS = (
    "check",
    "merge-reports",
    "map",
    "inspect",
    "audit",
    "verify",
    "rule",
    "config",
    "server",
    "clean",
    "completion",
)
"""In the order of `--help`; each is `command` in the file of that name, a dash being an underscore."""


class _Commands(click.Group):
    """A group in which anything that is not a command is an argument of `check`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"lorascale_lint.commands.{cmd_name.replace('-', '_')}").command
        assert isinstance(command, click.Command)
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # A shell that asks for completions parses what stands before the word to complete.
        if not ctx.resilient_parsing if not args else args[0] not in (*COMMANDS, "--help", "-h", "--version"):
            if args and (near := _command_near(args[0])):
                raise InputError(f"{args[0]}: no such file, folder or command; did you mean {near!r}?")
            args = ["check", *args]
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        check = self.get_command(ctx, "check")
        own = super().shell_complete(ctx, incomplete)
        if check is None:
            return own
        if not incomplete.startswith("-"):
            return own or [CompletionItem(incomplete, type="file")]
        known = {item.value for item in own}
        return own + [item for item in check.shell_complete(ctx, incomplete) if item.value not in known]


_LONGEST = 2 * max(map(len, COMMANDS))
"""Letters of a word that may be a misspelt command."""


def _command_near(word: str) -> str | None:
    """The command that somebody may have meant with a word that is no path."""
    if not word.isalpha() or len(word) > _LONGEST or Path(word).exists():
        return None
    from difflib import get_close_matches

    return next(iter(get_close_matches(word, COMMANDS, 1, 0.75)), None)


@click.group(
    cls=_Commands,
    subcommand_metavar="[PATH]... | COMMAND [ARGS]...",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(
        "lorascale-lint                  # what is wrong in the current folder",
        "lorascale-lint --diff src/      # how it would be repaired",
        "lorascale-lint --fix src/       # repair what is safe to repair",
        "lorascale-lint --fix --unsafe-fixes src/  # also what changes results",
        "lorascale-lint rule LS101       # what a rule means",
        "lorascale-lint check --help     # all options",
    ),
)
@click.version_option(__version__, prog_name="lorascale-lint")
def cli() -> None:
    """Find, repair and prove LoRA scaling bugs in Python code.

    `lorascale-lint [PATH]...` checks files and folders, the current one if none is given, as
    `lorascale-lint check [PATH]...` does; it takes the options of check. Use the longer form for a path that
    is named like a command.

    Exit codes: 0 nothing to report, 1 findings remain, 2 something could not be checked.
    """


def run(args: list[str] | None = None) -> int:
    """Run the command line with the given arguments (those of the process by default); the exit code."""
    open_missing()
    try:
        code = cli.main(args, prog_name="lorascale-lint", standalone_mode=False)
        sys.stdout.flush()  # what click has written; at exit it is too late to say that it failed
    except (click.Abort, KeyboardInterrupt):
        complain("interrupted\n")
        return 130
    except Exception as error:
        complain(_described(error))
        return 2  # Python's own exit code for this is 1, which would say that findings remain
    return code if isinstance(code, int) else 0


def _described(error: Exception) -> str:
    """What is printed about an error that ended the run; nothing in it may control a terminal."""
    from lorascale_lint.report.terminal import printable

    if isinstance(error, InputError):
        return f"error: {printable(str(error))}\n"
    if isinstance(error, click.ClickException):
        text = io.StringIO()
        error.show(text)
        return "".join(f"{printable(line)}\n" for line in text.getvalue().split("\n")[:-1])
    try:
        Path.cwd()
    except OSError:
        return "error: the working directory does not exist any more\n"
    if isinstance(error, OSError) and error.filename is None:  # no file: a stream that click writes to
        discard(sys.stdout)
        return f"error: cannot write: {error.strerror}\n"
    import traceback

    lines = "".join(traceback.format_exception(error)).split("\n")
    trace = "\n".join(map(printable, lines))
    return f"{trace}error: internal error; please report it with the lines above\n"


def main() -> NoReturn:
    """Entry point of the `lorascale-lint` command."""
    with rarely_collected():
        code = run()
        gc.freeze()  # all goes with the process: to look for garbage once more took a twentieth of a run
    sys.exit(code)
