"""Merges that may add to a merged weight, in layers that keep the factors of one adapter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lorascale_lint.facts.terms import (
    Attr,
    Call,
    Const,
    Element,
    Event,
    Item,
    Param,
    Term,
    children,
    conjuncts,
    walk,
)
from lorascale_lint.model.model import Implementation, Model
from lorascale_lint.model.project import (
    AttributeWrite,
    Function,
    bound_arguments,
    is_receiver,
    is_test_file,
)
from lorascale_lint.model.state import Setter

_KEEPERS = frozenset("append extend insert add update setdefault put appendleft".split())
_MEASURES = frozenset("shape ndim dtype device size dim".split())


@dataclass(frozen=True, slots=True, eq=False)
class Accumulation:
    """A setter whose parameter ``flag``, if it is ``accumulates``, merges without the unmerge before.

    ``unmerging`` is the guarded call of ``unmerge``, in ``merge`` or in the setter itself; ``restores`` says
    that ``unmerge`` puts a saved weight back, and so takes all adapters out.
    """

    setter: Setter
    merge: Function
    unmerge: Function
    unmerging: Event
    flag: str
    accumulates: bool
    restores: bool

    @property
    def overwrites(self) -> AttributeWrite | None:
        """The write that replaces a factor, None if the setter keeps the factors somewhere else, too."""
        function = self.setter.function
        factors = tuple(self.setter.factors.values())
        for write in factors:
            target = write.event.target
            if not isinstance(target, Attr) or not is_receiver(target.base, function) or write.event.sign:
                return None
        names = frozenset(
            term.name
            for write in factors
            for term in walk(write.event.value)
            if isinstance(term, Param) and term.name != function.receiver
        )
        stores = {id(write.event) for write in factors}
        others = (event for event in function.facts.events if id(event) not in stores)
        if any(_keeps_factor(event, function, names) for event in others):
            return None
        return min(factors, key=lambda write: write.event.row)

    def condition(self, given: str) -> str:
        """Source that is true where ``given``, an argument for the flag, asks for the unmerge."""
        return f"not {given}" if self.accumulates else given


@dataclass(frozen=True, slots=True, eq=False)
class LostAdapter:
    """A call ``again`` merges from the factors of the last adapter, whatever was accumulated before."""

    accumulation: Accumulation
    write: AttributeWrite
    again: tuple[Function, Call]


def lost_adapters(model: Model) -> Iterator[LostAdapter]:
    """Layers whose merge can't be made again after adapters were accumulated."""
    for implementation in model.implementations:
        for found in accumulations(model, implementation):
            write, again = found.overwrites, _merged_again(model, found)
            if write is not None and again is not None:
                yield LostAdapter(found, write, again)


def accumulations(model: Model, implementation: Implementation) -> Iterator[Accumulation]:
    """Setters of the layer that merge, and may leave the former adapter in the weight."""
    merges = {a.function for a in implementation.applications if a.kind == "merge" and a.owner is not None}
    restoring = {restoration.function for restoration in implementation.restorations}
    takes_back = restoring | {a.function for a in implementation.applications if a.kind == "unmerge"}
    names = {function.facts.name: function for function in takes_back}
    for setter in implementation.setters:
        for merge in sorted(merges, key=lambda function: function.facts.qualname):
            call = next((c for e in setter.function.events("call") if (c := _own_call(e, merge))), None)
            if call is None or merge.facts.name in names:
                continue
            for place in (merge, setter.function):
                found = _guarded(place, names)
                if found is None:
                    continue
                unmerging, flag, accumulates = found
                given = Param("", flag) if place is not merge else bound_arguments(call, merge).get(flag)
                parameter = setter.function.parameter(given.name) if isinstance(given, Param) else None
                default = None if parameter is None else parameter.default
                if (
                    parameter is None
                    or not isinstance(default, Const)
                    or default.value is not (not accumulates)
                ):
                    continue
                unmerge = names[_called(unmerging)]
                yield Accumulation(
                    setter, merge, unmerge, unmerging, parameter.name, accumulates, unmerge in restoring
                )


def given_flag(accumulation: Accumulation, function: Function) -> str | None:
    """The parameter of ``function`` that it gives to the setter as the flag."""
    setter = accumulation.setter.function
    for event in function.events("call"):
        call = event.value
        if isinstance(call, Call) and isinstance(call.func, Attr) and call.func.name == setter.facts.name:
            given = bound_arguments(call, setter).get(accumulation.flag)
            if isinstance(given, Param) and function.parameter(given.name) is not None:
                return given.name
    return None


def constant_flags(method: Function, value: bool) -> set[str]:
    """Attributes of ``self`` that the method sets to ``value``."""
    return {
        event.target.name
        for event in method.events("write")
        if isinstance(event.target, Attr)
        and is_receiver(event.target.base, method)
        and isinstance(event.value, Const)
        and event.value.value is value
    }


def _own_call(event: Event, method: Function) -> Call | None:
    call = event.value
    return call if isinstance(call, Call) and _called(event) == method.facts.name else None


def _called(event: Event) -> str:
    """Name of the method that an event calls on a plain name, which ``self`` is."""
    func = event.value.func if isinstance(event.value, Call) else None
    return func.name if isinstance(func, Attr) and isinstance(func.base, Param) else ""


def _guarded(function: Function, unmerges: dict[str, Function]) -> tuple[Event, str, bool] | None:
    """The call of an unmerge that one parameter can suppress: its name, and the value that does."""
    calls = [event for event in function.events("call") if _called(event) in unmerges]
    if len(calls) != 1:
        return None
    terms = [part for guard in calls[0].guards if not guard.required for part in conjuncts(guard)]
    flags = [(term.name, not holds) for term, holds in terms if isinstance(term, Param)]
    return (calls[0], *flags[0]) if len(flags) == 1 else None


def _keeps_factor(event: Event, function: Function, factors: frozenset[str]) -> bool:
    """Does the event put a factor that the function is given anywhere but where the layer has it?"""
    value = event.value
    if event.kind == "write":
        return _holds(value, factors)
    if event.kind != "call" or not isinstance(value, Call) or not isinstance(value.func, Attr):
        return False
    if not is_receiver(value.func.base, function) and value.func.name not in _KEEPERS:
        return False
    return any(_holds(part, factors) for part in (*value.args, *(given for _, given in value.keywords)))


def _holds(term: Term, names: frozenset[str]) -> bool:
    """Is one of the parameters in ``term``, and more than a measure of it?"""
    if isinstance(term, Attr) and term.name in _MEASURES:
        return False
    if isinstance(term, Param) and term.name in names:
        return True
    return any(_holds(part, names) for part in children(term))


def _merged_again(model: Model, found: Accumulation) -> tuple[Function, Call] | None:
    """A call of the merge by code that gives the layer no factors and leaves the flag alone."""
    setter, merge = found.setter.function.facts.name, found.merge.facts.name
    known = {id(site.call) for site in model.project.call_sites(found.merge)}
    for function in model.project.functions.values():
        if function in (found.setter.function, found.merge, found.unmerge) or is_test_file(function.filename):
            continue
        methods = [
            (call.func, call)
            for event in function.events("call")
            if isinstance(call := event.value, Call) and isinstance(call.func, Attr)
        ]
        if any(method.name == setter for method, _ in methods):
            continue
        for method, call in methods:
            # An element of a collection is a layer, where objects of several classes have such a method.
            is_layer = id(call) in known or isinstance(method.base, Item | Element)
            if method.name == merge and is_layer and not (call.args or call.keywords or call.spread):
                return function, call
    return None
