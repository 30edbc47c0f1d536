"""`verify --matrix`: which loaders are run, and where the table goes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lorascale_lint.console import Console
from lorascale_lint.errors import InputError
from lorascale_lint.verify.isolation.promises import Isolation


def run_matrix_command(
    paths: Sequence[Path],
    pictures: Sequence[Path],
    *,
    driver: str | None,
    seed: int | None,
    timeout: float | None,
    device: str,
    isolation: Isolation,
    as_json: bool,
) -> int:
    """Print the matrix of the loaders in `paths`, or else of the installed ones, and write its pictures.

    Returns the exit code. Raises InputError.
    """
    from lorascale_lint.verify.command import configured_driver, told
    from lorascale_lint.verify.matrix import run_matrix
    from lorascale_lint.verify.matrix_report import render_json, render_text
    from lorascale_lint.verify.pictures import check_picture, write_picture
    from lorascale_lint.verify.registry import installed

    for path in paths:
        if not path.exists():
            raise InputError(f"{path}: no such file or folder")
    # Before the loaders are run: that takes a minute.
    for picture in pictures:
        check_picture(picture)
    console = Console()
    targets = [(path, driver or configured_driver(path)) for path in paths]
    if not targets:
        targets = [(path, driver) for path in installed()]
    if not targets:
        console.error("No package that a driver can run is installed here; name a tree (--list-drivers).")
        return 3
    matrix = run_matrix(
        targets,
        seed=seed,
        timeout=timeout,
        device=device,
        isolation=isolation,
        progress=told(console.step),
        warn=told(console.warning),
    )
    for picture in pictures:
        write_picture(matrix, picture)
    console.out(render_json(matrix) if as_json else render_text(matrix))
    return matrix.exit_code
