"""The command line. Only click is imported here: `--help` and `--version` must be instant."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any, NoReturn

import click

from lorascale_lint import __version__
from lorascale_lint.errors import InputError


class _DefaultGroup(click.Group):
    """A group in which anything that is not a command is an argument of `check`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h", "--version"):
            args = ["check", *args]
        return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        options = (option for option in check.params if isinstance(option, click.Option))
        records = [record for option in options if (record := option.get_help_record(ctx))]
        with formatter.section("Options of check"):
            formatter.write_dl(records)
        super().format_options(ctx, formatter)


def _split(ctx: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(item.strip() for items in value for item in items.split(",") if item.strip())


_DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


def _device(ctx: click.Context, parameter: click.Parameter, value: str) -> str:
    kind, colon, number = value.partition(":")
    if value in ("auto", "cpu") or (kind == "cuda" and (number.isdecimal() if colon else True)):
        return value
    raise click.BadParameter(f"{value!r} is none of auto, cpu, cuda, cuda:N")


_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def _size(ctx: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    """Bytes for "8G", "500M", "2GiB" or "1000000"."""
    if value is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]?)(?:i?B)?", value, re.IGNORECASE)
    if found is None or not float(found[1]):
        raise click.BadParameter(f"{value!r} is no size such as 8G or 500M")
    return int(float(found[1]) * _UNITS[found[2].upper()])


@click.group(
    cls=_DefaultGroup,
    subcommand_metavar="PATH... | COMMAND [ARGS]...",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="lorascale-lint")
def cli() -> None:
    """Find, repair and prove LoRA scaling bugs in Python code.

    `lorascale-lint PATH...` checks files and folders, as `lorascale-lint check PATH...` does. Use the
    longer form for a path that is named like a command.

    Exit codes: 0 nothing to report, 1 findings remain, 2 something could not be checked.
    """


@cli.command()
@click.argument("paths", nargs=-1, required=True)
@click.option("--fix", is_flag=True, help="Apply safe fixes to the files.")
@click.option("--unsafe-fixes", is_flag=True, help="With --fix or --diff: also fixes that change behaviour.")
@click.option("--diff", is_flag=True, help="Show what --fix would change as a patch; write nothing.")
@click.option("--select", multiple=True, callback=_split, metavar="RULES", help="Run only these rules.")
@click.option("--ignore", multiple=True, callback=_split, metavar="RULES", help="Do not run these rules.")
@click.option("--preview", is_flag=True, help="Also report what is plausible but not shown by the code.")
@click.option(
    "--output-format",
    type=click.Choice(["text", "concise", "json"]),
    default="text",
    show_default=True,
    help="How findings are printed.",
)
@click.option("--exit-zero", is_flag=True, help="Exit with 0 when findings remain.")
@click.option("--quiet", "-q", is_flag=True, help="Print only findings and errors.")
@click.option("--no-cache", is_flag=True, help="Neither read nor write the cache of facts.")
@click.option("--stdin-filename", metavar="PATH", help="What the text on standard input (-) is to be called.")
def check(paths: tuple[str, ...], *, no_cache: bool, **options: Any) -> int:
    """Check PATHS (files, folders, or - for standard input).

    RULES are codes (LS101), prefixes of codes (LS1) or names (unscaled-merge), separated by commas.
    """
    if options["unsafe_fixes"] and not (options["fix"] or options["diff"]):
        raise click.UsageError("--unsafe-fixes needs --fix or --diff")
    if options["diff"] and options["output_format"] == "json":
        raise click.UsageError("--diff prints a patch, so it can't be used with --output-format json")
    if "-" in paths and len(paths) > 1:
        raise click.UsageError("- (standard input) can't be mixed with other paths")
    if options["stdin_filename"] is not None and paths != ("-",):
        raise click.UsageError("--stdin-filename needs - as the only path")
    from lorascale_lint.check_command import CheckOptions, run_check

    return run_check(CheckOptions(paths, cache=not no_cache, **options))


_text_or_json = click.option(
    "--output-format", type=click.Choice(["text", "json"]), default="text", show_default=True
)


@cli.command("map")
@click.argument("paths", nargs=-1, required=True)
@_text_or_json
def map_command(paths: tuple[str, ...], output_format: str) -> int:
    """Show the LoRA implementations in PATHS: where each delta is applied, and with which scale."""
    from lorascale_lint.config import Configs
    from lorascale_lint.console import Console
    from lorascale_lint.engine import load_model
    from lorascale_lint.model.map_report import render_map
    from lorascale_lint.report.terminal import Style
    from lorascale_lint.report.text import render_failure
    from lorascale_lint.sources.discovery import discover

    console = Console()
    sources = discover(map(Path, paths), Configs())
    model, unread = load_model(sources.targets, sources.context, for_map=True)
    failures = [*sources.failures, *(item for item in unread if Path(item.filename) in sources.targets)]
    for failure in failures:
        console.error_text("error: " + render_failure(failure, Style()))
    console.out(render_map(model, sources.targets, as_json=output_format == "json"))
    return 2 if failures else 0


@cli.command()
@click.argument("paths", metavar="[PATH]...", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--driver",
    metavar="NAME|FILE.py:NAME",
    help="How the code is run: a driver, or a function of one's own; found out from PATH by default.",
)
@click.option("--list-drivers", is_flag=True, help="List the drivers and end.")
@click.option("--emit-test", is_flag=True, help="Print a pytest file for the code in PATH and end.")
@click.option(
    "--seed", type=int, metavar="NUMBER", help="Repeat the inputs of an earlier run; new ones by default."
)
@click.option("--timeout", type=float, metavar="SECONDS", help="Limit for each scenario.")
@click.option(
    "--device",
    default="cpu",
    show_default=True,
    callback=_device,
    metavar="auto|cpu|cuda|cuda:N",
    help="Where the code is run.",
)
@click.option(
    "--dtype",
    default="fp32",
    show_default=True,
    type=click.Choice(["fp32", "bf16", "fp16"]),
    callback=lambda _context, _parameter, value: _DTYPES[value],
    help="Floating-point type of single layers.",
)
@click.option(
    "--adapter",
    type=click.Path(exists=True, path_type=Path),
    metavar="FILE_OR_DIR",
    help="Put each module of a real adapter through the loader.",
)
@click.option(
    "--base",
    type=click.Path(exists=True, path_type=Path),
    metavar="FILE_OR_DIR",
    help="With --adapter: the safetensors files of the weights it belongs to; random ones by default.",
)
@click.option("--compiled", is_flag=True, help="Run forwards under torch.compile; needs a C++ compiler.")
@click.option(
    "--memory-limit",
    metavar="SIZE",
    callback=_size,
    help="Memory that the child may hold, such as 8G; three quarters of what is available by default.",
)
@click.option(
    "--distributed",
    type=click.IntRange(min=2),
    metavar="N",
    help="Have N processes, started by torchrun, share each layer: sharded weights and tensor parallelism.",
)
@click.option(
    "--matrix",
    is_flag=True,
    help="Put one adapter, written in each file convention, to the loaders in all PATHs, or else to those "
    "that are installed.",
)
@click.option(
    "--picture",
    "pictures",
    type=click.Path(path_type=Path, dir_okay=False),
    multiple=True,
    metavar="FILE.png|FILE.html",
    help="With --matrix: draw it too. Can be given more than once.",
)
@_text_or_json
def verify(
    paths: tuple[Path, ...],
    *,
    list_drivers: bool,
    emit_test: bool,
    matrix: bool,
    pictures: tuple[Path, ...],
    output_format: str,
    **options: Any,
) -> int:
    """Run the code in PATH in a child process and measure the scale of each delta.

    Unlike every other command this executes the code. It needs torch (the `verify` extra).

    Exit codes: 0 every scale is right, 1 one differs, 2 error, 3 nothing could be judged.
    """
    if matrix and not list_drivers:
        return _verify_matrix(paths, pictures, emit_test, options, output_format)
    if pictures:
        raise click.UsageError("--picture draws the matrix; it needs --matrix.")
    if len(paths) > 1:
        raise click.UsageError("One PATH at a time; only --matrix takes several.")
    path = paths[0] if paths else None
    from lorascale_lint.verify.command import (
        VerifyOptions,
        emit_test_command,
        list_all_drivers,
        run_verify_command,
    )

    if list_drivers:
        return list_all_drivers()
    if path is None:
        raise click.UsageError("Missing argument 'PATH'.")
    if emit_test:
        return emit_test_command(path, options["driver"])
    if options["adapter"] and options["distributed"]:
        raise click.UsageError("--adapter and --distributed ask different things; one at a time.")
    if options["base"] and not options["adapter"]:
        raise click.UsageError("--base is what an adapter is merged into; it needs --adapter.")
    return run_verify_command(path, VerifyOptions(**options), as_json=output_format == "json")


def _verify_matrix(
    paths: tuple[Path, ...],
    pictures: tuple[Path, ...],
    emit_test: bool,
    options: dict[str, Any],
    output_format: str,
) -> int:
    from lorascale_lint.verify.matrix_command import run_matrix_command

    names = ("driver", "seed", "timeout", "device")
    others = {name: value for name, value in options.items() if name not in names}
    if emit_test or others.pop("dtype") != "float32" or any(others.values()):
        raise click.UsageError(f"--matrix goes with {', '.join(f'--{name}' for name in names)} only.")
    told = {name: options[name] for name in names}
    return run_matrix_command(paths, pictures, **told, as_json=output_format == "json")


@cli.command()
@click.argument("paths", nargs=-1, required=True)
@click.option("--loader", metavar="NAME", help="Ask about one loader, such as comfyui or fastvideo-0.2.1.")
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["text", "json", "html"]),
    default="text",
    show_default=True,
)
@click.option(
    "--rewrite-to",
    type=(str, click.Path(path_type=Path)),
    default=None,
    metavar="CONVENTION OUT",
    help="Write the adapter anew to OUT, in a convention such as kohya or peft that states its scale.",
)
@click.option("--fold", is_flag=True, help="With --rewrite-to: multiply the scale into B, and state 1.")
@click.option("--alpha", type=float, help="With --rewrite-to: the alpha of the training, if no file says it.")
def inspect(
    paths: tuple[str, ...],
    loader: str | None,
    output_format: str,
    rewrite_to: tuple[str, Path] | None,
    fold: bool,
    alpha: float | None,
) -> int:
    """Show which scale the adapters in PATHS were trained with, and what loaders make of it.

    PATHS are safetensors files, or folders of them. Only headers and alphas are read; needs no torch.
    With --rewrite-to one adapter is written anew for a loader that would lose its scale; the new file is
    compared with the old one before it gets its name, and nothing is overwritten.

    Exit codes: 0 everything was read, 2 a file could not be read or is of no known layout. With --loader
    also: 1 it applies a wrong scale or nothing, or refuses the file, 3 what it does is not known.
    """
    from lorascale_lint.adapters.command import run_inspect, run_rewrite

    if rewrite_to is not None:
        return run_rewrite(paths, *rewrite_to, fold=fold, alpha=alpha)
    if fold or alpha is not None:
        raise click.UsageError("--fold and --alpha say how to rewrite; they need --rewrite-to.")
    return run_inspect(paths, loader, output_format)


@cli.command()
@click.option("--base", required=True, type=click.Path(path_type=Path), help="The model before the merge.")
@click.option(
    "--adapter",
    "adapters",
    required=True,
    multiple=True,
    metavar="PATH[=STRENGTH]",
    help="What was merged; several with their strengths, in the order of the merge.",
)
@click.option("--merged", required=True, type=click.Path(path_type=Path), help="The model after the merge.")
@click.option(
    "--map", "map_file", type=click.Path(path_type=Path), help="Names of one's own, as a TOML or JSON file."
)
@click.option(
    "--jobs", "-j", type=click.IntRange(min=1), default=None, help="Threads; one for each core by default."
)
@_text_or_json
def audit(output_format: str, jobs: int | None, **options: Any) -> int:
    """Show whether a merged checkpoint holds an adapter at its trained strength.

    Every path is a safetensors file, a folder of them, or an index file. Needs no torch.

    Exit codes: 0 it matches, 1 something differs, 2 a file could not be read, 3 some could not be judged.
    """
    import os

    # audit has threads of its own; those of OpenBLAS spin while they wait for one another.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from lorascale_lint.audit.command import AuditOptions, run_audit

    options["jobs"] = jobs or os.cpu_count() or 1
    return run_audit(AuditOptions(**options), as_json=output_format == "json")


@cli.command()
@click.argument("rule", required=False)
def rule(rule: str | None) -> int:
    """Explain a RULE (code or name), or list all rules."""
    from lorascale_lint.console import Console
    from lorascale_lint.rule import all_rules
    from lorascale_lint.selection import Catalog, UnknownRule

    console = Console()
    rules = all_rules()
    if rule is None:
        long = max((len(item.name) for item in rules), default=0)
        console.out("".join(f"{item.code}  {item.name:<{long}}  {item.summary()}\n" for item in rules))
        return 0
    codes = Catalog.load().resolve(rule)
    found = [item for item in rules if item.code in codes]
    if len(found) != 1:
        raise UnknownRule(f"{rule!r} stands for {len(found)} rules: {', '.join(sorted(codes))}")
    console.out(f"# {found[0].name} ({found[0].code})\n\n{found[0].page()}\n")
    return 0


def run(args: list[str] | None = None) -> int:
    """Run the command line with the given arguments (those of the process by default); the exit code."""
    try:
        code = cli.main(args, prog_name="lorascale-lint", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return 2
    except InputError as error:
        from lorascale_lint.report.terminal import printable

        print(f"error: {printable(str(error))}", file=sys.stderr)
        return 2
    except (click.Abort, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
        return 130
    except Exception:
        # Python's own exit code for this is 1, which would say that findings remain.
        import traceback

        traceback.print_exc()
        print("error: internal error; please report it with the lines above", file=sys.stderr)
        return 2
    return code if isinstance(code, int) else 0


def main() -> NoReturn:
    """Entry point of the `lorascale-lint` command."""
    sys.exit(run())
