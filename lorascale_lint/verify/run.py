"""The parent process: choose what is run and how, have it run (`session`), and say what is known.

Imports neither torch nor the target.
"""

from __future__ import annotations

import secrets
from dataclasses import replace
from pathlib import Path

from lorascale_lint.verify.devices import choose_device
from lorascale_lint.verify.harness.description import Sketch, as_json
from lorascale_lint.verify.interpreters import why_unfit
from lorascale_lint.verify.isolation.promises import Isolation
from lorascale_lint.verify.isolation.room import RoomError, find_containment
from lorascale_lint.verify.order import Order
from lorascale_lint.verify.packages import missing_of, packages_problem
from lorascale_lint.verify.processes import can_watch
from lorascale_lint.verify.real_adapters import BaseWeights, read_modules
from lorascale_lint.verify.registry import HARNESS, NoDriverError, UnknownDriverError, choose
from lorascale_lint.verify.report import Problem, Target, VerifyReport
from lorascale_lint.verify.session import Limits, Progress, Session


def run_verify(
    path: Path,
    *,
    driver: str | None = None,
    seed: int | None = None,
    timeout: float | None = None,
    device: str = "cpu",
    dtype: str = "float32",
    matrix: bool = False,
    adapter: Path | None = None,
    base: Path | None = None,
    compiled: bool = False,
    memory_limit: int | None = None,
    distributed: int | None = None,
    isolation: Isolation = Isolation.AUTO,
    only: str | None = None,
    python: Path | None = None,
    sketches: tuple[Sketch, ...] = (),
    reached: bool = False,
    progress: Progress | None = None,
    warn: Progress | None = None,
) -> VerifyReport:
    """Run the LoRA code below `path` in a child process and compare it with the reference.

    `driver` names a driver (default: the one that fits the path), `seed` makes the inputs those of an
    earlier run (default: new ones), `timeout` is how many seconds a single scenario may take (default 60;
    the import may take 180, or `timeout` if that is more). `device` is "auto", "cpu", "cuda" or "cuda:N";
    `dtype` is the floating-point type of single layers (models are float32). With `matrix`, a model is given
    adapter files, one of each kind (`file_kinds`). With `adapter` (a safetensors file, or a folder) each of
    its modules is put through the loader, into a weight of type `dtype` that is random, or that of the files
    in `base`. `compiled` runs forwards under `torch.compile`. `memory_limit` is how many bytes the child and
    what it starts may hold (default: three quarters of what is available). `distributed` is how many
    processes, started by torchrun, share each layer. `isolation` says what to do where this machine cannot
    keep a promise (`isolation.promises`). The harness runs `only` the function or class at "FILE:ROW", or
    `sketches` that the caller has, and with `reached` each row says what it executed. `python` is the
    interpreter of another environment that the child runs in (Python 3.11 or newer). `progress` is called
    with short lines for a person, `warn`, before anything is run, with each promise that is not kept.

    Never raises for what the target does; an unknown path or driver and a failed import are in the report.
    Raises InputError if the adapter or the base cannot be read.
    """
    chosen_seed = secrets.randbelow(2**31) if seed is None else seed
    say = progress or (lambda _line: None)
    if only is not None:
        driver = driver or HARNESS.name
    try:
        try:
            entry, package = choose(path, driver)
        except NoDriverError as error:
            if not (sketches := sketches or _sketches(path, only, say)):
                raise UnknownDriverError(
                    f"{error} No place is seen in which a delta is applied, either."
                ) from error
            entry, package = HARNESS, path.resolve()
        if entry is HARNESS and not (sketches := sketches or _sketches(path, only, say)):
            raise UnknownDriverError(f"{only or path}: no place is seen in which a delta is applied.")
    except UnknownDriverError as error:
        return VerifyReport(target=Target(path=str(path)), seed=chosen_seed, problem=Problem(2, str(error)))
    target = Target(path=str(package), driver=entry.name)
    if adapter is not None:
        # Now rather than in the child, so that a file that cannot be read is an error of its own.
        read_modules(adapter, dtype)
        BaseWeights(base)
    missing = missing_of(entry.requirements) if python is None else []
    if missing:
        needed = [*missing, *missing_of(entry.full_requirements)]
        return VerifyReport(target=target, seed=chosen_seed, problem=packages_problem(needed))
    place = choose_device(device, entry, distributed or 1)
    if isinstance(place, Problem):
        return VerifyReport(target=target, seed=chosen_seed, problem=place)
    if distributed and not entry.distributed:
        problem = Problem(3, f"The driver {entry.name} runs in one process only.")
        return VerifyReport(target=target, seed=chosen_seed, problem=problem)
    if memory_limit is not None and not can_watch():
        problem = Problem(3, "The memory of processes cannot be watched on this system (it has no /proc).")
        return VerifyReport(target=target, seed=chosen_seed, problem=problem)
    if python is not None and (unfit := why_unfit(python)):
        return VerifyReport(target=target, seed=chosen_seed, problem=Problem(3, unfit))
    containment = find_containment(isolation)
    unkept = tuple(containment.sentences())
    if unkept and isolation is Isolation.REQUIRED:
        return VerifyReport(
            target=target, seed=chosen_seed, problem=Problem(3, f"Nothing was run. {'. '.join(unkept)}.")
        )
    for sentence in unkept:
        (warn or say)(sentence)
    blank = Order(
        factory=entry.factory,
        package=str(package),
        import_mode="",
        seed=chosen_seed,
        results="",
        folder="",
        device=place,
        dtype=dtype,
        matrix=matrix,
        adapter="" if adapter is None else str(adapter.resolve()),
        base="" if base is None else str(base.resolve()),
        compiled=compiled,
        ranks=distributed or 1,
        reached=reached,
    )
    limits = Limits.of(timeout, memory_limit, slow=compiled)
    try:
        descriptions = as_json(sketches) if sketches else ""
        report = Session(entry, blank, containment, limits, say, descriptions, python).run(target)
    except RoomError as error:
        report = VerifyReport(
            target=target, seed=chosen_seed, problem=Problem(2, f"Nothing was run: {error}")
        )
    return replace(report, containment=containment)


def _sketches(path: Path, only: str | None, say: Progress) -> tuple[Sketch, ...]:
    # Analysis needs LibCST, which drivers do without.
    from lorascale_lint.verify.harness.places import sketches_at
    from lorascale_lint.verify.harness.sketches import sketches_of

    say(f"looking for applications in {only or path}")
    return sketches_of(path) if only is None else sketches_at(path, only)
