"""What the analysis knows of a project's applications, for the child to run. Nothing is executed here."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from lorascale_lint.config import Configs
from lorascale_lint.examination import examine_paths
from lorascale_lint.knowledge.roles import ALPHA, BASE, RANK, SCALING, STRENGTH, A, B
from lorascale_lint.ledger.applications import Application, applications
from lorascale_lint.ledger.entries import Trial
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import only_symbol, scale_of
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.provenance.keys import role_in
from lorascale_lint.provenance.scale import ONE, TRAINED, TRAINED_RS
from lorascale_lint.provenance.values import Place as PlaceValue, Ref, Tensor, Text, Value
from lorascale_lint.sources.discovery import discover
from lorascale_lint.verify.harness.description import Action, Place, Role, Sketch
from lorascale_lint.verify.harness.ways import Callers, above_in, callers_in, with_ways

if TYPE_CHECKING:
    from lorascale_lint.workers.executors import Workers

# Files of a project that are more than one process should look at.
_MANY = 20
_Key = tuple[str, str, str, str]
"""File, class of the receiver, function and kind."""


def sketches_of(path: Path) -> tuple[Sketch, ...]:
    """All applications below `path`, in the order of the files, one for each function, class and kind.

    Raises ConfigError for settings that cannot be read.
    """
    sources = discover([path], Configs())
    ledger, _unread = examine_paths(sources.targets, sources.context, workers=_workers(sources.targets))
    return sketches_in(ledger, {str(target) for target in sources.targets}, path)


def _workers(targets: Collection[Path]) -> Workers | None:
    """A process for each processor, where there is enough to look at."""
    count = _processors()
    if count < 2 or len(targets) < _MANY:
        return None
    from lorascale_lint.workers.executors import Processes

    return Processes(count)


def _processors() -> int:
    """Those that this process may use; 1 where processes can't be forked."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


def sketches_in(
    ledger: Ledger, targets: Iterable[str], path: Path, also: Iterable[tuple[str, Place]] = ()
) -> tuple[Sketch, ...]:
    """The sketches of `targets`, files of the project at `path`.

    Also those of places that the ledger has no application for, each with the name of its file there.
    """
    root = path if path.is_dir() else path.parent
    wanted = set(targets)
    found: dict[_Key, list[Application]] = defaultdict(list)
    for item in applications(ledger):
        if item.spot.file.filename in wanted:
            found[_key(item.spot, item.kind)].append(item)
    alone = _alone(ledger)
    places = [
        (
            key[0],
            tuple(sorted({item.spot.row for item in items})),
            Place(
                file=relative(key[0], root),
                name=items[0].spot.name,
                row=items[0].spot.row,
                action=Action(items[0].kind),
                formula=alone.get(key) or _joined(item.formula for item in items),
                owner=_owner(items[0].spot),
            ),
        )
        for key, items in found.items()
    ]
    named = cache(lambda name: relative(name, root))
    callers = callers_in(ledger)
    doing, keys, roles = _doing(found, callers), _keys(ledger), _roles(ledger)
    sketches = [
        Sketch(
            place,
            keys=tuple(keys.get((filename, place.name), ())),
            merge=doing.get((filename, place.owner, Action.MERGE), ""),
            unmerge=doing.get((filename, place.owner, Action.UNMERGE), ""),
            roles=tuple(roles.get((filename, place.owner or place.name), {}).items()),
            rows=rows,
        )
        for filename, rows, place in (*places, *((name, (), place) for name, place in also))
    ]
    owners = {cls for items in found.values() if (cls := items[0].spot.cls) is not None}
    sketches = with_ways(sketches, ledger, owners, callers, named)
    sketches += conversions(ledger, wanted, root)
    return tuple(sorted(sketches, key=lambda sketch: (sketch.place.file, sketch.place.row)))


def _key(spot: Spot, kind: str) -> _Key:
    return (spot.file.filename, _owner(spot), spot.name, kind)


def _owner(spot: Spot) -> str:
    """The class whose method it is: that of the receiver if it stands in the same file."""
    if spot.function is None or spot.function.is_static:
        return ""
    if spot.cls is not None and spot.cls.file is spot.file:
        return spot.cls.qualname
    return spot.function.owner.qualname if spot.function.owner is not None else ""


def _joined(formulas: Iterable[str]) -> str:
    """The branches of several formulas, each once."""
    branches = dict.fromkeys(branch for formula in formulas for branch in formula.split(" | "))
    return " | ".join(branches)


def _alone(ledger: Ledger) -> Mapping[_Key, str]:
    """The formulas of functions that were looked at alone, as the harness calls them, where they are known.

    What callers give (a strength of 1, no alpha) is another matter.
    """
    scales: dict[_Key, list[str]] = defaultdict(list)
    for entry in ledger.applies:
        if not entry.spot.chain:
            scales[_key(entry.spot, entry.kind)].append(entry.scale.formula())
    return {key: _joined(found) for key, found in scales.items() if "unknown" not in found}


def _doing(found: Mapping[_Key, list[Application]], callers: Callers) -> dict[tuple[str, str, Action], str]:
    """Which method of a class merges, and which one unmerges; one and the same that is told a mode."""
    doing: dict[tuple[str, str, Action], str] = {}
    switches = _switches(found, callers)
    for filename, owner, name, kind in found:
        method = switches.get((filename, owner), name.rpartition(".")[2])
        if method == "train":
            # One method that does both, by the mode that it is given.
            doing.setdefault((filename, owner, Action.MERGE), "eval")
            doing.setdefault((filename, owner, Action.UNMERGE), "train")
        elif owner and method != "forward":
            doing.setdefault((filename, owner, Action(kind)), method)
    return doing


def _switches(found: Mapping[_Key, list[Application]], callers: Callers) -> dict[tuple[str, str], str]:
    """Of each class the method that does both, or that its merge and its unmerge are called by, if any."""
    above: dict[tuple[str, str, Action], dict[str, None]] = defaultdict(dict)
    for filename, owner, name, kind in found:
        if owner and kind in (Action.MERGE, Action.UNMERGE):
            for _file, caller in ((filename, name), *above_in((filename, name), callers)):
                cls, _, method = caller.rpartition(".")
                if cls in (owner, name.rpartition(".")[0]) and method not in _FORWARDS:
                    above[filename, owner, Action(kind)][method] = None
    return {
        (filename, owner): both[0]
        for (filename, owner, kind), names in above.items()
        if kind is Action.MERGE
        and (both := [name for name in names if name in above.get((filename, owner, Action.UNMERGE), ())])
    }


_FORWARDS = ("forward", "__call__", "__init__")


def _keys(ledger: Ledger) -> dict[tuple[str, str], list[str]]:
    """Patterns of the keys that each function reads, with a star for what is not known."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for read in ledger.reads:
        if isinstance(read.key, Text):
            pattern = "".join(part if isinstance(part, str) else "*" for part in read.key.parts)
            patterns = found[read.spot.file.filename, read.spot.name]
            if pattern not in patterns:
                patterns.append(pattern)
    return found


def _roles(ledger: Ledger) -> dict[tuple[str, str], dict[str, Role]]:
    """Of each function and class, by file and name: what was given to its parameters or put in its fields.

    What is given different things has no role.
    """
    seen: dict[tuple[str, str], dict[str, set[Role | None]]] = defaultdict(lambda: defaultdict(set))
    for use in ledger.uses:
        if use.callee is not None:
            for name, value in use.given.items():
                seen[use.callee.file.filename, use.callee.qualname][name].add(_role(value))
    for store in ledger.stores:
        if isinstance(store.owner, Ref) and store.owner.cls is not None:
            cls = store.owner.cls
            seen[cls.file.filename, cls.qualname][store.field].add(_role(store.value))
    return {
        key: {name: role for name, roles in names.items() if len(roles) == 1 and (role := next(iter(roles)))}
        for key, names in seen.items()
    }


_KINDS = {A: Role.A, B: Role.B, BASE: Role.BASE, "adapted": Role.BASE}
_NUMBERS = {ALPHA: Role.ALPHA, RANK: Role.RANK, SCALING: Role.SCALE, STRENGTH: Role.STRENGTH}


def _role(value: Value) -> Role | None:
    if isinstance(value, Tensor) and value.scale == ONE:
        return _KINDS.get(value.kind)
    if isinstance(value, PlaceValue) and value.role in _KINDS:
        return _KINDS[value.role]
    scale = scale_of(value)
    if scale is None or scale.unknowns():
        return None
    if scale.by_role() in (TRAINED, TRAINED_RS):
        return Role.SCALE
    symbol = only_symbol(scale)
    return None if symbol is None else _NUMBERS.get(symbol.role)


def conversions(ledger: Ledger, targets: Collection[str], root: Path) -> list[Sketch]:
    """Functions that are given an adapter's tensors, or a file with them, and make an adapter again."""
    found: dict[tuple[str, str], Sketch] = {}
    for trial in ledger.trials:
        function = trial.function
        if function is None or function.file.filename not in targets or not trial.whole:
            continue
        if (function.owner is not None and not function.is_static) or not _comes_out(trial):
            continue
        place = Place(
            relative(function.file.filename, root),
            function.qualname,
            function.node.lineno,
            Action.CONVERT,
        )
        states = trial.sample.states_alpha
        sketch = Sketch(place, trial.sample.keys, table=trial.parameter, states_alpha=states)
        found.setdefault((function.file.filename, function.qualname), sketch)
    return list(found.values())


def _comes_out(trial: Trial) -> bool:
    """Whether both factors lie under names of factors in something other than what was given."""
    given = trial.given.key if isinstance(trial.given, Ref) else None
    for key, pairs in trial.held.items():
        if key == given:
            continue
        names = {role_in(name) for name, _ in pairs if isinstance(name, Text)}
        if {A, B} <= names:
            return True
    return False


def relative(filename: str, root: Path) -> str:
    """The name of a file as places have it."""
    path = Path(filename).resolve()
    return str(path.relative_to(root.resolve())) if path.is_relative_to(root.resolve()) else str(path)
