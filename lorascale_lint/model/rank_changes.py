"""Adapters whose factors are decomposed anew to another rank, and what becomes of their configuration."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lorascale_lint.facts.terms import Attr, Call, Const, Event, Global, Item, Loc, Param, Term, each_term
from lorascale_lint.model.adapter_flow import same_place
from lorascale_lint.model.file_readers import callee_name
from lorascale_lint.model.project import Function, Project

_DECOMPOSES = frozenset("svd svd_lowrank pca_lowrank randomized_svd svds".split())
_COPIES = frozenset("dict copy deepcopy".split())


@dataclass(frozen=True, slots=True, eq=False)
class ResizedConfig:
    """``config["r"] = new_rank`` beside a decomposition; ``saved`` is where the configuration goes."""

    written: Event
    decomposed: Loc
    saved: Loc


def resized_configs(project: Project, function: Function) -> Iterator[ResizedConfig]:
    """Configurations of PEFT that get a new rank, in code that says nothing of alpha or of a scale.

    The loaded configuration has a ``lora_alpha``, which so stays what it was.
    """
    decomposed = next(
        (
            term.loc
            for _, term in each_term(function.facts.events)
            if isinstance(term, Call) and callee_name(term) in _DECOMPOSES
        ),
        None,
    )
    if decomposed is None or _speaks_of_scale(function):
        return
    for event in function.events("write"):
        match event.target:
            case Item(base=config, key=Const(value="r")) if not event.sign and not _is_former(event.value):
                pass
            case _:
                continue
        saved = _saved(project, function, config)
        if saved is not None and _is_loaded(config):
            yield ResizedConfig(event, decomposed, saved)


def _speaks_of_scale(function: Function) -> bool:
    words = [word.lower() for word in function.facts.words]
    return any("alpha" in word or "scal" in word for word in words)


def _is_former(value: Term) -> bool:
    """Is the rank that is written only read from a configuration?"""
    match value:
        case Item(key=Const(value="r")) | Call(func=Attr(name="get" | "pop"), args=(Const(value="r"), *_)):
            return True
        case Call(func=Global(name="int"), args=(inner,)):
            return _is_former(inner)
        case _:
            return False


def _is_loaded(config: Term) -> bool:
    """Is the dictionary read from a file, a copy of one, or given?"""
    while isinstance(config, Call) and callee_name(config) in _COPIES:
        inner = config.args[0] if config.args else getattr(config.func, "base", None)
        if inner is None:
            return False
        config = inner
    match config:
        case Call(func=Attr(name=name) | Global(name=name)):
            return "load" in name.lower() or "read" in name.lower()
        case Param(name=name):
            return "config" in name.lower() or "cfg" in name.lower()
        case _:
            return False


def _saved(project: Project, function: Function, config: Term) -> Loc | None:
    """Where the configuration is handed to what writes it, unless that may know of alpha."""
    for event in function.events("call"):
        call = event.value
        if not isinstance(call, Call) or not any(same_place(part, config) for part in call.args):
            continue
        name = callee_name(call).lower()
        if "save" not in name and "dump" not in name and "write" not in name:
            continue
        bodies = [b for b in project.callees(call.func, function, None) if isinstance(b, Function)]
        if any(_speaks_of_scale(near) for body in bodies for near in project.reachable(body, 2)):
            return None
        return call.loc
    return None
