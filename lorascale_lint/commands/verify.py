"""`verify`: run the code and measure."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from lorascale_lint.commands.options import examples, text_or_json

_DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


def _device(ctx: click.Context, parameter: click.Parameter, value: str) -> str:
    kind, colon, number = value.partition(":")
    if value in ("auto", "cpu", "standin") or (kind == "cuda" and (number.isdecimal() if colon else True)):
        return value
    raise click.BadParameter(f"{value!r} is none of auto, cpu, cuda, cuda:N, standin")


_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def _isolation(_context: click.Context, _parameter: click.Parameter, value: str) -> Any:
    from lorascale_lint.verify.isolation.promises import Isolation

    return Isolation(value)


def _size(ctx: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    """Bytes for "8G", "500M", "2GiB" or "1000000"."""
    if value is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]?)(?:i?B)?", value, re.IGNORECASE)
    if found is None or not float(found[1]):
        raise click.BadParameter(f"{value!r} is no size such as 8G or 500M")
    return int(float(found[1]) * _UNITS[found[2].upper()])


@click.command(
    "verify",
    short_help="Run code and measure the scale of each delta.",
    epilog=examples(
        "lorascale-lint verify src/",
        "lorascale-lint verify . --driver verify_driver.py:merge",
        "lorascale-lint verify src/ --adapter video.safetensors",
        "lorascale-lint verify --matrix --picture matrix.html",
    ),
)
@click.argument("paths", metavar="[PATH]...", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--driver",
    metavar="NAME|FILE.py:NAME",
    help="How the code is run: a driver, or a function of one's own; found out from PATH by default.",
)
@click.option(
    "--only",
    metavar="FILE:ROW",
    help="Run only the function or class around that row, without a driver.",
)
@click.option(
    "--python",
    metavar="EXE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Interpreter of the environment that the code is run in; this program's own by default.",
)
@click.option(
    "--emit-driver",
    metavar="FILE:ROW",
    help="Print a driver, filled in as far as it can be, for the function or class around that row, and end.",
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
    metavar="auto|cpu|cuda|cuda:N|standin",
    help="Where the code is run; standin computes on the CPU and minds devices as a GPU does.",
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
    "--isolation",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "required", "off"]),
    callback=_isolation,
    help="Where this machine cannot keep the code from the network, other files and other processes: "
    "say so and run it, do not run it, or do not try.",
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
@text_or_json
def command(
    paths: tuple[Path, ...],
    *,
    list_drivers: bool,
    emit_test: bool,
    emit_driver: str | None,
    matrix: bool,
    pictures: tuple[Path, ...],
    output_format: str,
    **options: Any,
) -> int:
    """Run the code in PATH in a child process and measure the scale of each delta.

    Unlike every other command this executes the code. It needs torch (the `verify` extra). What the code can
    reach meanwhile is in SECURITY.md.

    Exit codes: 0 every scale is right, 1 one differs, 2 error, 3 nothing could be judged.
    """
    if matrix and emit_driver is not None:
        raise click.UsageError("--emit-driver is about one place; it does not go with --matrix.")
    if matrix and not list_drivers:
        return _verify_matrix(paths, pictures, emit_test, options, output_format)
    if pictures:
        raise click.UsageError("--picture draws the matrix; it needs --matrix.")
    if len(paths) > 1:
        raise click.UsageError("One PATH at a time; only --matrix takes several.")
    path = paths[0] if paths else None
    from lorascale_lint.verify.command import (
        VerifyOptions,
        emit_driver_command,
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
    if emit_driver is not None:
        return emit_driver_command(path, emit_driver, VerifyOptions(**options))
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

    names = ("driver", "seed", "timeout", "device", "isolation")
    others = {name: value for name, value in options.items() if name not in names}
    if emit_test or others.pop("dtype") != "float32" or any(others.values()):
        raise click.UsageError(f"--matrix goes with {', '.join(f'--{name}' for name in names)} only.")
    told = {name: options[name] for name in names}
    return run_matrix_command(paths, pictures, **told, as_json=output_format == "json")
