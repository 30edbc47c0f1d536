"""Merges and what is meant to take them back: pairs of one class or file that are not inverses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from lorascale_lint.facts.extract import dotted_name
from lorascale_lint.facts.terms import (
    Attr,
    Call,
    Event,
    Global,
    Loc,
    Op,
    Param,
    Term,
    children,
    is_none,
    source_text,
    walk,
)
from lorascale_lint.model.applications import Application, Step
from lorascale_lint.model.factor_products import effects
from lorascale_lint.model.model import Model
from lorascale_lint.model.project import (
    CHOICE_LIMIT,
    Class,
    Function,
    bound_arguments,
    is_receiver,
    is_test_file,
)
from lorascale_lint.model.scale import SCALING, STRENGTH, Scale
from lorascale_lint.model.values import Delta

_TAKES_BACK = re.compile(r"(?i)_*(un|de)_?(merge|fuse|fold|apply|patch|load)\w*")
_PUTS_IN = re.compile(r"(?i)_*(merge|fuse|fold|apply|patch|load|add)\w*")
_DROPPING = re.compile(r"(?i)(un|de)_?(merge|fuse|fold|patch)|merge|fuse|reset|restore|remove")
_ALIASES = frozenset("data detach requires_grad_ T weight".split())
_SUMS = frozenset("add sub subtract".split())
_CASTS = frozenset("to type float half bfloat16 type_as contiguous clone detach astype".split())


@dataclass(frozen=True, slots=True, eq=False)
class Asymmetry:
    """``text`` says what is not undone at ``loc`` in ``function``; ``steps`` explain it.

    What can repair it: ``weight`` should get the dropped value, or what the assignment at ``sibling`` writes
    to; ``uncopied`` are the assignments that should copy; the delta should be transposed as at ``turned``,
    or subtracted at ``added``.
    """

    function: Function
    loc: Loc
    event: Event
    text: str
    effect: str
    steps: tuple[Step, ...]
    weight: Term | None = None
    sibling: Loc | None = None
    uncopied: tuple[Loc, ...] = ()
    turned: Loc | None = None
    added: Loc | None = None


def asymmetries(model: Model) -> Iterator[Asymmetry]:
    """Every unmerge that leaves something behind, and every sum whose result is dropped."""
    reported = {found.loc for _, found, _ in model.unscaled}
    for merges, unmerges in _pairs(model):
        found = _other_delta(model, merges, unmerges)
        if found is not None and found.loc not in reported:
            yield found
    yield from _added_again(model)
    effects_of = _Effects(model)
    for function in model.functions:
        if not is_test_file(function.filename):
            yield from _dropped_sums(model, function, effects_of)
            yield from _dropped_calls(model, function)
    for cls in model.project.classes.values():
        yield from _aliased_backups(model, cls)


# ---- other scale, other layout ------------------------------------------------------------


def _pairs(model: Model) -> Iterator[tuple[list[Application], list[Application]]]:
    """Merges and unmerges of one weight, by class, or by file for functions of no class."""
    groups: dict[tuple[object, str], tuple[list[Application], list[Application]]] = {}
    for application in model.applications:
        function = application.function
        if application.kind == "forward" or application.base is None or is_test_file(function.filename):
            continue
        if application.owner is None and not _TAKES_BACK.fullmatch(_counterpart(function)):
            continue
        place = application.owner or (function.filename, _stem(function.facts.name))
        merges, unmerges = groups.setdefault((place, _weight_text(application.base)), ([], []))
        (unmerges if application.kind == "unmerge" else merges).append(application)
    yield from ((merges, unmerges) for merges, unmerges in groups.values() if merges and unmerges)


def _counterpart(function: Function) -> str:
    name = function.facts.name
    return name if _TAKES_BACK.fullmatch(name) else "un" + name if _PUTS_IN.fullmatch(name) else ""


def _stem(name: str) -> str:
    return re.sub(r"(?i)^_*(un|de)_?(?=merge|fuse|fold|apply|patch|load)", "", name).lstrip("_")


def _other_delta(model: Model, merges: list[Application], unmerges: list[Application]) -> Asymmetry | None:
    """An unmerge whose scale or layout is that of no merge."""
    put_in = [scale for merge in merges for scale in merge.scales]
    layouts = _layouts(merges)
    for unmerge in unmerges:
        function, merge = unmerge.function, merges[0]
        put = (merge.function.filename, merge.loc, f"the merge adds the delta at {merge.formula()}")
        known = put_in and unmerge.scales and all(scale.known for scale in (*put_in, *unmerge.scales))
        if known and not any(_same(s, m) for s in unmerge.scales for m in put_in):
            return Asymmetry(
                function,
                unmerge.loc,
                unmerge.event,
                f"`{function.facts.qualname}` takes back {unmerge.formula()}, and "
                f"`{merge.function.facts.name}` added {merge.formula()}",
                f"{merge.formula()} - {unmerge.formula()} of the delta stays in the weight",
                (put, (function.filename, unmerge.loc, f"and this takes it back at {unmerge.formula()}")),
            )
        taken = _layouts([unmerge])
        if layouts and taken and not layouts & taken and {"out_in", "in_out"} >= layouts | taken:
            turned = unmerge if "in_out" in taken else merge
            return Asymmetry(
                merge.function,
                merge.loc,
                merge.event,
                f"delta transposed in `{turned.function.facts.name}` and not in its inverse"
                if unmerge.function is not merge.function
                else f"`{function.facts.qualname}` transposes the delta where it "
                f"{'subtracts' if turned is unmerge else 'adds'} it, and not where it "
                f"{'adds' if turned is unmerge else 'subtracts'} it",
                "a rectangular weight fails; a square one keeps `BA - (BA).T` of each cycle",
                (
                    (merge.function.filename, merge.loc, f"the merge adds {_described(layouts)}"),
                    (function.filename, unmerge.loc, f"the unmerge subtracts {_described(taken)}"),
                ),
                turned=unmerge.event.loc if turned is unmerge and _is_embedding(model, merge) else None,
            )
    return None


def _is_embedding(model: Model, merge: Application) -> bool:
    """Is it an embedding's weight, a row for each token, which the transpose of ``B @ A`` fits?"""
    owner = merge.owner
    names = (
        ()
        if owner is None
        else (dotted_name(b) for c in model.project.ancestors(owner) for b in c.facts.bases)
    )
    return any(name.rpartition(".")[2] == "Embedding" for name in names)


def _described(layouts: set[str]) -> str:
    return "`B @ A` as it is" if "out_in" in layouts else "its transpose"


def _layouts(applications: list[Application]) -> set[str]:
    return {
        alternative.value.layout
        for application in applications
        for alternative in application.deltas
        if isinstance(alternative.value, Delta)
    }


def _same(left: Scale, right: Scale) -> bool:
    """Are the scales equal, where a stored scaling may be any trained scale?"""
    if left == right:
        return True
    by_name = left.power(SCALING) or right.power(SCALING)
    same_strength = left.power(STRENGTH) == right.power(STRENGTH)
    return bool(by_name and left.is_trained and right.is_trained and same_strength)


def _weight_text(base: Term) -> str:
    while isinstance(base, Attr) and base.name == "data":
        base = base.base
    return source_text(base)


# ---- added again --------------------------------------------------------------------------


def _added_again(model: Model) -> Iterator[Asymmetry]:
    """Functions called unmerge that add what the merge of their class adds, and subtract nothing."""
    for application in model.applications:
        function = application.function
        if application.kind != "merge" or not re.search(r"(?i)un_?(merge|fuse)", function.facts.name):
            continue
        if not all(scale.known and scale.coefficient > 0 for scale in application.scales):
            continue
        own = model.applications_of[function]
        if any(a.kind == "unmerge" for a in own) or application.base is None:
            continue
        merge = next(
            (
                a
                for a in model.applications
                if a.kind == "merge"
                and a.function is not function
                and a.owner is application.owner
                and a.function.filename == function.filename
                and a.base is not None
                and _weight_text(a.base) == _weight_text(application.base)
                and _stem(a.function.facts.name) == _stem(function.facts.name)
            ),
            None,
        )
        if merge is not None:
            yield Asymmetry(
                function,
                application.loc,
                application.event,
                f"`{function.facts.qualname}` adds the delta once more",
                "the weight keeps twice the delta instead of none",
                (
                    (merge.function.filename, merge.loc, "the merge adds the delta"),
                    (function.filename, application.loc, "and this adds it again"),
                ),
                added=application.loc,
            )


# ---- dropped results ----------------------------------------------------------------------


def _dropped_sums(model: Model, function: Function, effects_of: _Effects) -> Iterator[Asymmetry]:
    """Sums of a weight and a delta that are bound to a local nobody reads, or to nothing."""
    for application in model.applications_of.get(function, ()):
        if application.kind == "forward" or application.event.sign:
            continue
        if application.event.kind not in ("bind", "call"):
            continue
        found = next((t for t in walk(application.event.value) if t.loc == application.loc), None)
        if found is None or not _is_new_tensor(found) or id(found) in effects_of.reached(function):
            continue
        verb = "subtracts the delta" if application.kind == "unmerge" else "adds the delta"
        yield Asymmetry(
            function,
            application.loc,
            application.event,
            f"`{function.facts.qualname}` {verb} and drops the result",
            "the weight stays as it was",
            (
                (function.filename, application.delta.loc, "the delta is made here"),
                (function.filename, application.loc, f"`{source_text(found)}` is a new tensor"),
                (function.filename, function.facts.loc, "nothing here writes it back or returns it"),
            ),
            weight=application.base,
        )


def _is_new_tensor(term: Term | None) -> bool:
    if isinstance(term, Op):
        return term.sign in ("+", "-")
    return (
        isinstance(term, Call)
        and isinstance(term.func, Attr | Global)
        and term.func.name in _SUMS
        and all(name != "out" for name, _ in term.keywords)
    )


@dataclass
class _Effects:
    """The terms of each function that leave it, or that it binds to a name which is read again."""

    model: Model
    _terms: dict[Function, frozenset[int]] = field(default_factory=dict)

    def reached(self, function: Function) -> frozenset[int]:
        """Identities of the terms: one walk, where a walk for each sum would take quadratic time."""
        if function not in self._terms:
            self._terms[function] = frozenset(
                id(part) for part in walk(*self._roots(function), *self._roots_of_nested(function))
            )
        return self._terms[function]

    def _roots_of_nested(self, function: Function) -> Iterator[Term]:
        prefix = f"{function.facts.qualname}."
        for other in self._by_file.get(function.filename, ()):
            if other is not function and other.facts.qualname.startswith(prefix):
                yield from self._roots(function, other)

    @cached_property
    def _by_file(self) -> dict[str, list[Function]]:
        table: dict[str, list[Function]] = {}
        for function in self.model.project.functions.values():
            table.setdefault(function.filename, []).append(function)
        return table

    def _roots(self, function: Function, inner: Function | None = None) -> Iterator[Term]:
        for event in (inner or function).facts.events:
            if event.kind == "bind" and not self.model.names.is_read(function, event.name, event.end_row):
                continue
            yield from (guard.test for guard in event.guards)
            if event.target is not None:
                yield event.target
            # A call that is a statement reads its arguments; nobody reads its own result.
            yield from children(event.value) if event.kind == "call" else (event.value,)


def _dropped_calls(model: Model, function: Function) -> Iterator[Asymmetry]:
    """Calls, as statements, of helpers that only return ``weight - delta``."""
    if not _DROPPING.search(function.facts.name):
        return
    for event in effects(function):
        call = event.value
        if event.kind != "call" or not isinstance(call, Call):
            continue
        bound = [e for e in function.events("bind") if e.value is call]
        if any(model.names.is_read(function, e.name, e.end_row) for e in bound):
            continue
        callees = model.project.callees(call.func, function, function.owner)
        if isinstance(call.func, Attr) and is_receiver(call.func.base, function) and function.owner:
            callees = model.project.overrides(function.owner, call.func.name)
        helpers = [item for item in callees if isinstance(item, Function)]
        if not callees and isinstance(call.func, Attr) and any(_holds_weight(term) for term in call.args):
            helpers = list(model.project.methods_named(call.func.name))
        helpers = [helper for helper in helpers if not _is_abstract(helper)]
        if not helpers or len(helpers) > CHOICE_LIMIT or not all(map(is_pure, helpers)):
            continue
        sums = [(helper, total) for helper in helpers if (total := _returned_sum(helper)) is not None]
        if sums and (bound or model.names.is_statement(function, call.loc)):
            helper, total = sums[0]
            yield Asymmetry(
                function,
                call.loc,
                event,
                f"`{function.facts.qualname}` drops what `{helper.facts.name}` returns",
                "the weight stays as it was",
                (
                    (helper.filename, total.loc, f"`{helper.facts.name}` returns a new tensor"),
                    (helper.filename, helper.facts.loc, "and changes none of its arguments"),
                    (function.filename, call.loc, "its result is dropped here"),
                ),
                weight=_summed_argument(call, helper, total),
            )


def _summed_argument(call: Call, helper: Function, total: Term) -> Term | None:
    """What ``call`` gives for the parameter that ``helper`` takes something from."""
    taken = total.left if isinstance(total, Op) else None
    return bound_arguments(call, helper).get(taken.name) if isinstance(taken, Param) else None


def _holds_weight(term: Term) -> bool:
    return any(isinstance(part, Attr) and part.name in ("weight", "data", "kernel") for part in walk(term))


def _is_abstract(function: Function) -> bool:
    return any(function.events("raise")) and not any(function.events("return"))


def is_pure(function: Function) -> bool:
    """Does the function only compute: no writes, no calls that could change something?"""
    if any(function.events("write", "yield")) or "abstractmethod" in function.facts.decorators:
        return False
    for event in function.events("call"):
        func = event.value.func if isinstance(event.value, Call) else None
        name = func.name if isinstance(func, Attr | Global) else ""
        if not name or name.endswith("_") or name in ("copy_", "setattr", "exec", "append", "update", "put"):
            return False
    return True


def _returned_sum(function: Function) -> Term | None:
    """The sum or difference of a parameter and something else that the function returns."""
    for event in function.events("return"):
        term = event.value
        while isinstance(term, Call) and isinstance(term.func, Attr) and term.func.name in _CASTS:
            term = term.func.base
        if (
            isinstance(term, Op)
            and term.sign in ("+", "-")
            and any(isinstance(side, Param) for side in (term.left, term.right))
        ):
            return term
    return None


# ---- aliased backups ----------------------------------------------------------------------


def _aliased_backups(model: Model, cls: Class) -> Iterator[Asymmetry]:
    """A saved weight that shares its memory with the weight which a merge then changes in place."""
    merges = [a for a in model.applications if a.owner is cls and a.kind == "merge" and _in_place(a)]
    if not merges:
        return
    weights = {_weight_text(a.base): a for a in merges if a.base is not None}
    for method in model.project.methods(cls):
        for event in method.events("write"):
            target = event.target
            if not isinstance(target, Attr) or not is_receiver(target.base, method) or event.sign:
                continue
            saved = _alias(event.value)
            text = "" if saved is None else _weight_text(_as_own(saved, method))
            merge = weights.get(text)
            if merge is None or target.name in ("weight", "data"):
                continue
            writes = model.project.writes(cls, target.name)
            if any(_alias(w.event.value) is None and not is_none(w.event.value) for w in writes):
                continue
            restore = _restored(model, cls, target.name, text)
            if restore is not None:
                yield Asymmetry(
                    method,
                    event.loc,
                    event,
                    f"`{target.name}` is no copy of the weight that `{merge.function.facts.name}` "
                    "changes in place",
                    "the unmerge puts back the merged weight: the delta stays",
                    (
                        (method.filename, event.loc, f"`{target.name}` shares the weight's memory"),
                        (merge.function.filename, merge.loc, "the merge changes that memory in place"),
                        (restore[0].filename, restore[1].loc, f"`{target.name}` is put back, delta included"),
                    ),
                    uncopied=_uncopied(method, event, merge, restore),
                )


def _uncopied(
    method: Function, event: Event, merge: Application, restore: tuple[Function, Event]
) -> tuple[Loc, ...]:
    """The saving, and the putting back too, unless each merge saves again or it copies anyway."""
    back, put = restore
    saves_again = method is merge.function
    if saves_again or put.kind == "call":
        return (event.loc,)
    return (event.loc, put.loc) if back.filename == method.filename else ()


def _in_place(application: Application) -> bool:
    event, base = application.event, application.base
    if base is None or not isinstance(base, Attr):
        return False
    if event.kind == "write" and event.sign == "+":
        return application.loc == event.loc
    return any(
        isinstance(term, Call)
        and term.loc == application.loc
        and isinstance(term.func, Attr)
        and term.func.name.endswith("_")
        for term in walk(event.value)
    )


def _alias(term: Term) -> Term | None:
    """The weight that ``term`` is a view of; None if it is a copy or something else."""
    while True:
        match term:
            case Call(func=Attr(base=base, name="detach"), args=()):
                term = base
            case Attr(base=base, name="data"):
                term = base
            case Attr(name="weight"):
                return term
            case _:
                return None


def _as_own(term: Term, method: Function) -> Term:
    """``layer.weight`` of a constructor as ``self.layer.weight``, if it stores ``layer`` there."""
    if not isinstance(term, Attr) or not isinstance(term.base, Param) or is_receiver(term.base, method):
        return term
    stored = next(
        (
            event.target
            for event in method.events("write")
            if isinstance(event.target, Attr)
            and isinstance(event.value, Param)
            and event.value.name == term.base.name
        ),
        None,
    )
    return term if stored is None else Attr(stored, term.name, term.loc)


def _restored(model: Model, cls: Class, name: str, weight: str) -> tuple[Function, Event] | None:
    """Where the saved attribute is written back into the weight."""
    for method in model.project.methods(cls):
        for event in method.events("write", "call"):
            value = event.value
            if event.kind == "write":
                target, source = event.target, value
            elif isinstance(value, Call) and isinstance(value.func, Attr) and value.func.name == "copy_":
                target, source = value.func.base, value.args[0] if value.args else value
            else:
                continue
            back = isinstance(source, Attr) and source.name == name and is_receiver(source.base, method)
            if back and target is not None and _weight_text(target) == weight:
                return method, event
    return None
