"""From files to the ledger of what their LoRA code does."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from lorascale_lint.findings import FileFailure, Position
from lorascale_lint.knowledge.interfaces import SETTINGS_NAMES
from lorascale_lint.knowledge.roles import may_hold_lora_code
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.linking.companions import companions
from lorascale_lint.linking.program import Program
from lorascale_lint.provenance.driver import examine_program
from lorascale_lint.provenance.interpreter import machine_for
from lorascale_lint.provenance.machine import Machine
from lorascale_lint.provenance.show import show
from lorascale_lint.reading import read_all
from lorascale_lint.refusals import refused
from lorascale_lint.rooms import room
from lorascale_lint.sources.modules import module_name
from lorascale_lint.sources.texts import Texts

if TYPE_CHECKING:
    from lorascale_lint.workers.executors import Workers


def examine_sources(
    sources: Mapping[Path, bytes],
    modules: Mapping[Path, str],
    targets: Collection[Path],
    progress: Callable[[int, int], None] | None = None,
    *,
    around: bool = False,
    workers: Workers | None = None,
) -> tuple[Ledger, list[FileFailure]]:
    """What happens in ``targets``; the other files of ``sources`` are read where the code leads there.

    With ``around``, also what happens in the files with LoRA code next to them. ``workers`` look at the files
    in place of this process.

    Also those among the targets that could not be read, and functions on which the engine itself failed.
    """
    looked_for = [path for path in sorted(targets) if path in sources and may_hold_lora_code(sources[path])]
    machine, lost = _run(sources, modules, looked_for, progress, around=around, workers=workers)
    ledger = machine.ledger
    ledger.read_source, ledger.lineage = lambda name: sources[Path(name)], machine.program.mro
    others = [data for path, data in sources.items() if str(path) not in machine.looked_at]
    ledger.read_elsewhere = cache(lambda name: _is_read(name, others))
    failures = [
        failure
        for path in looked_for
        if str(path) not in machine.looked_at | {*lost} and (failure := refused(path, sources[path]))
    ]
    failures += [FileFailure(name, why, code="LS000") for name, why in lost.items()]
    failures += [
        FileFailure(name, message, Position(row, 1)) for (name, row), message in ledger.left_out.items()
    ]
    failures += [
        FileFailure(name, f"internal error while the code was followed, in {what}", code="LS000")
        for name, what in ledger.crashes
    ]
    return ledger, failures


@dataclass(frozen=True, slots=True)
class Sight:
    """What the engine knows of an expression; ``called_from`` are the calls that led there, outermost first.

    They are empty where the function was looked at by itself.
    """

    expression: str
    value: str
    called_from: tuple[str, ...]


def look_at(
    targets: Collection[Path], context: Collection[Path], path: Path, row: int
) -> tuple[list[Sight], list[FileFailure]]:
    """What the expressions in one row are worth, in the order in which they were computed."""
    sources, failures = read_all({*targets, *context, path}, {})
    chosen = [name for name in {*targets, path} if name in sources and may_hold_lora_code(sources[name])]
    machine, _ = _run(sources, modules_of(sources), chosen, watched=(str(path), row))
    found = [Sight(text, show(value), chain) for text, value, chain in machine.sights]
    return list(dict.fromkeys(found)), failures


def _run(
    sources: Mapping[Path, bytes],
    modules: Mapping[Path, str],
    chosen: Collection[Path],
    progress: Callable[[int, int], None] | None = None,
    watched: tuple[str, int] | None = None,
    *,
    around: bool = False,
    workers: Workers | None = None,
) -> tuple[Machine, dict[str, str]]:
    """The machine that has looked at ``chosen``, and the files of which nothing is known, and why."""
    texts, wanted = Texts(sources), [str(path) for path in chosen]
    program = Program(texts, {str(path): module for path, module in modules.items()})
    if around:
        wanted += companions(program, texts, wanted)
    with room():
        if workers is None:
            return examine_program(program, wanted, progress, watched), {}
        from lorascale_lint.workers.gathering import gather

        whole = machine_for(program)
        return whole, gather(workers, whole, sources, modules, sorted(wanted), progress)


def _is_read(name: str, sources: Iterable[bytes]) -> bool:
    """Is there an attribute called ``name``, or its string, in one of the sources, and not of settings?"""
    attribute = re.compile(rb"(\w+)\s*\.\s*%s\b|[\"']%s[\"']" % (name.encode(), name.encode()))
    return any(
        (found[1] or b"").decode(errors="replace").lower().rpartition("_")[2] not in SETTINGS_NAMES
        for data in sources
        if name.encode() in data
        for found in attribute.finditer(data)
    )


def modules_of(paths: Collection[Path]) -> dict[Path, str]:
    """The dotted name by which each file is imported."""
    return {path: module_name(path.absolute()) for path in paths}


def examine_paths(
    targets: Collection[Path],
    context: Collection[Path],
    *,
    overlay: Mapping[Path, bytes] | None = None,
    workers: Workers | None = None,
) -> tuple[Ledger, list[FileFailure]]:
    """The ledger of ``targets``, and those among them that could not be read or parsed."""
    sources, unread = read_all({*targets, *context}, overlay or {})
    present = [path for path in targets if path in sources]
    ledger, failures = examine_sources(sources, modules_of(sources), present, workers=workers)
    return ledger, [*unread, *failures]
