"""Saved weights that are the weight itself where that is on the CPU already."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lorascale_lint.facts.terms import Attr, Call, Const, Event, Term, walk
from lorascale_lint.model.applications import Application
from lorascale_lint.model.model import Implementation, Model
from lorascale_lint.model.project import Function, attribute_chain, is_receiver


@dataclass(frozen=True, slots=True, eq=False)
class SharedBackup:
    """``self.saved = weight.to("cpu")`` in ``function``, written back by ``restores``."""

    function: Function
    event: Event
    copy: Call
    merge: Application
    restores: tuple[tuple[Function, Event, Call], ...]


def shared_backups(model: Model) -> Iterator[SharedBackup]:
    """Backups that need not be copies, in classes whose merge handles weights of any device."""
    for implementation in model.implementations:
        merge = next((a for a in implementation.applications if _moves_and_stores(a)), None)
        if merge is None:
            continue
        for saved in dict.fromkeys(found.saved for found in implementation.restorations):
            writes = model.project.writes(implementation.root, saved)
            if len(writes) != 1 or not writes[0].on_self:
                continue
            event = writes[0].event
            restores = tuple(_restores(implementation, saved))
            if isinstance(event.value, Call) and _may_share(event.value) and restores:
                yield SharedBackup(writes[0].function, event, event.value, merge, restores)


def _moves_and_stores(application: Application) -> bool:
    """Does a merge take the weight to a device, and store the sum in the very same parameter?"""
    function = application.function
    stores = any(_is_weight_data(event.target) for event in function.events("write"))
    asks = any(
        isinstance(term, Attr) and term.name == "device" and "weight" in attribute_chain(term.base)
        for event in function.facts.events
        for term in walk(event.value)
    )
    return application.kind == "merge" and stores and asks


def _is_weight_data(target: Term | None) -> bool:
    return (
        isinstance(target, Attr)
        and target.name == "data"
        and isinstance(target.base, Attr)
        and target.base.name == "weight"
    )


def _may_share(call: Call) -> bool:
    """Is it ``weight.to("cpu")`` or ``weight.cpu()``, which return the weight itself if it is there?"""
    if not isinstance(call.func, Attr) or any(name == "copy" for name, _ in call.keywords) or call.spread:
        return False
    first = call.args[0] if call.args else None
    named = (
        call.func.name == "to" and isinstance(first, Const) and first.value == "cpu" and len(call.args) == 1
    )
    if not named and not (call.func.name == "cpu" and first is None):
        return False
    weight = call.func.base
    while (isinstance(weight, Attr) and weight.name == "data") or isinstance(weight, Call):
        if isinstance(weight, Call):
            if not isinstance(weight.func, Attr) or weight.func.name != "detach":
                return False
            weight = weight.func.base
        else:
            weight = weight.base
    return isinstance(weight, Attr) and weight.name == "weight"


def _restores(implementation: Implementation, saved: str) -> Iterator[tuple[Function, Event, Call]]:
    """``weight.data = self.saved.to(...)``, which hands the backup's own memory over on the CPU."""
    for restoration in implementation.restorations:
        function = restoration.function
        for event in function.events("write"):
            call = event.value
            if (
                event.loc != restoration.loc
                or not _is_weight_data(event.target)
                or not isinstance(call, Call)
            ):
                continue
            if not isinstance(call.func, Attr) or call.func.name != "to":
                continue
            held = call.func.base
            if isinstance(held, Attr) and held.name == "data":
                held = held.base
            if isinstance(held, Attr) and held.name == saved and is_receiver(held.base, function):
                yield function, event, call
