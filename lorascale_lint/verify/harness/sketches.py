"""What the analysis knows of a project's applications, for the child to run. Nothing is executed here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lorascale_lint.config import Configs
from lorascale_lint.engine import load_model
from lorascale_lint.model.model import Implementation, Model
from lorascale_lint.sources.discovery import discover
from lorascale_lint.verify.harness.description import Action, Place, Sketch


def sketches_of(path: Path) -> tuple[Sketch, ...]:
    """All applications below `path`, in the order of the files, one for each function and kind.

    Raises ConfigError for settings that cannot be read.
    """
    sources = discover([path], Configs())
    model, _unread = load_model(sources.targets, sources.context)
    root = path if path.is_dir() else path.parent
    targets = {str(target) for target in sources.targets}
    found: dict[tuple[str, str, Action], Sketch] = {}
    for sketch in (*_functions(model, targets, root), *_methods(model, targets, root)):
        key = (sketch.place.file, sketch.place.name, sketch.place.action)
        found.setdefault(key, sketch)
    return tuple(sorted(found.values(), key=lambda sketch: (sketch.place.file, sketch.place.row)))


def _functions(model: Model, targets: set[str], root: Path) -> Iterator[Sketch]:
    keys = {traffic.function: traffic.patterns("read") for traffic in model.key_traffic}
    for item in model.applications:
        if item.owner is None and item.function.filename in targets:
            yield Sketch(
                Place(
                    file=_relative(item.function.filename, root),
                    name=item.function.facts.qualname,
                    row=item.loc.row,
                    action=Action(item.kind),
                    formula=item.formula(),
                ),
                keys=tuple(keys.get(item.function, ())),
            )


def _methods(model: Model, targets: set[str], root: Path) -> Iterator[Sketch]:
    for implementation in model.implementations:
        doing = _doing(implementation)
        for item in implementation.applications:
            if item.function.filename not in targets:
                continue
            name = item.function.facts.qualname
            owner = name.rpartition(".")[0]
            yield Sketch(
                Place(
                    file=_relative(item.function.filename, root),
                    name=name,
                    row=item.loc.row,
                    action=Action(item.kind),
                    formula=item.formula(),
                    owner=owner,
                ),
                merge=doing.get((owner, Action.MERGE), ""),
                unmerge=doing.get((owner, Action.UNMERGE), ""),
            )


def _doing(implementation: Implementation) -> dict[tuple[str, Action], str]:
    """Which method of a class merges, and which one unmerges."""
    found: dict[tuple[str, Action], str] = {}
    named = [(item.function.facts.qualname, Action(item.kind)) for item in implementation.applications]
    named += [(item.function.facts.qualname, Action.UNMERGE) for item in implementation.restorations]
    for name, action in named:
        owner, _, method = name.rpartition(".")
        if method == "train":
            # One method that does both, by the mode that it is given.
            found.setdefault((owner, Action.MERGE), "eval")
            found.setdefault((owner, Action.UNMERGE), "train")
        elif method != "forward":
            found.setdefault((owner, action), method)
    return found


def _relative(filename: str, root: Path) -> str:
    path = Path(filename).resolve()
    return str(path.relative_to(root.resolve())) if path.is_relative_to(root.resolve()) else str(path)
