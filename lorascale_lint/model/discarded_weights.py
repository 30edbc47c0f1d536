"""A new weight that one branch computes and drops, where its sibling writes it back."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace

from lorascale_lint.facts.terms import Attr, Call, Event, Global, Guard, Op, Param, Term, source_text, walk
from lorascale_lint.model.applications import Step
from lorascale_lint.model.factor_products import is_log
from lorascale_lint.model.file_readers import callee_name
from lorascale_lint.model.model import Model
from lorascale_lint.model.project import Function, attribute_chain, bound_arguments, is_test_file
from lorascale_lint.model.scale_branches import parting, plain
from lorascale_lint.model.unmerge_pairs import Asymmetry, is_pure

_WEIGHTS = frozenset("weight kernel qweight base_weight weights".split())
_IN_PLACE = {"copy_": "", "add_": "+", "sub_": "-", "set_": ""}
_READS = frozenset("getattr hasattr isinstance len float int str".split())
_VIEWS = frozenset("to float detach clone unsqueeze squeeze view reshape size norm t transpose".split())
_SIGNS = frozenset("+ - * /".split())


def discarded_weights(model: Model) -> Iterator[Asymmetry]:
    """Every local that gets a branch's new weight and is not read again."""
    for function in model.functions:
        if is_test_file(function.filename):
            continue
        written = list(_written(function))
        for event in function.events("bind") if written else ():
            found = _discarded(model, function, event, written)
            if found is not None:
                yield found


def _written(function: Function) -> Iterator[Event]:
    """Writes to weights, those by ``weight.copy_(...)`` and the like as augmented assignments."""
    for event in function.events("write", "call"):
        call = event.value
        if event.kind == "write" and _is_weight(event.target):
            yield event
        elif (
            event.kind == "call"
            and isinstance(call, Call)
            and isinstance(call.func, Attr)
            and call.func.name in _IN_PLACE
            and _is_weight(call.func.base)
        ):
            yield replace(event, target=call.func.base, sign=_IN_PLACE[call.func.name])


def _is_weight(target: Term | None) -> bool:
    return isinstance(target, Attr) and not _WEIGHTS.isdisjoint(attribute_chain(target))


def _discarded(model: Model, function: Function, event: Event, written: list[Event]) -> Asymmetry | None:
    for write in written:
        if write.target is None or not (write.sign in ("+", "-") or _takes(write.value, write.target)):
            continue
        text = _place(write.target)
        apart = parting(event.guards, write.guards)
        same = [w for w in written if w.target is not None and _place(w.target) == text]
        if apart is None or not _takes(event.value, write.target):
            continue
        if any(parting(event.guards, other.guards) is None for other in same):
            continue  # written on the branch of the local as well
        made = _new_weight(model, function, event.value, write.target)
        if made is None or _is_read_later(model, function, event, write):
            continue
        if _may_be_written(model, function, apart, event):
            continue
        return Asymmetry(
            function,
            event.value.loc,
            event,
            f"`{function.facts.qualname}` computes the new `{text}` on one branch and drops it",
            "the weight stays as it was",
            (
                (function.filename, write.loc, f"the sibling branch writes its result to `{text}`"),
                *made,
                (function.filename, event.loc, f"here it goes to `{event.name}`, which is not read again"),
            ),
            sibling=write.loc if write.kind == "write" and not write.sign else None,
            weight=write.target,
        )
    return None


def _place(target: Term) -> str:
    """A weight's text, by whichever of its views it is named."""
    while isinstance(target, Attr) and target.name == "data":
        target = target.base
    return source_text(target)


def _takes(value: Term, target: Term) -> bool:
    """Is ``value`` a call or a sum of the weight itself?"""
    parts: tuple[Term, ...] = ()
    match value:
        case Call(func=func, args=args, keywords=keywords):
            parts = (
                *args,
                *(given for _, given in keywords),
                *((func.base,) if isinstance(func, Attr) else ()),
            )
        case Op(sign=sign, left=left, right=right) if sign in _SIGNS:
            parts = (left, right)
        case _:
            return False
    place = _place(target)
    return any(_place(_plain(part)) == place for part in parts)


def _plain(term: Term) -> Term:
    while isinstance(term, Call) and isinstance(term.func, Attr) and not term.func.name.endswith("_"):
        if term.func.name not in ("to", "float", "detach", "clone", "cpu", "cuda", "type", "double"):
            break
        term = term.func.base
    return term


def _new_weight(model: Model, function: Function, value: Term, target: Term) -> tuple[Step, ...] | None:
    """Steps that show that ``value`` is a sum with the weight, in a new tensor."""
    if isinstance(value, Op):
        return () if value.sign in ("+", "-") else None
    if not isinstance(value, Call):
        return None
    if isinstance(value.func, Attr) and value.func.name in ("add", "sub", "subtract"):
        return () if all(name != "out" for name, _ in value.keywords) else None
    callees = model.project.callees(value.func, function, function.owner)
    if not callees or not all(isinstance(item, Function) and is_pure(item) for item in callees):
        return None
    step: tuple[Step, ...] = ()
    for helper in callees:
        assert isinstance(helper, Function)
        names = {
            name
            for name, given in bound_arguments(value, helper).items()
            if _place(_plain(given)) == _place(target)
        }
        total = next(
            (
                term
                for event in helper.events("return")
                for term in walk(event.value)
                if isinstance(term, Op)
                and term.sign in ("+", "-")
                and any(isinstance(part, Param) and part.name in names for part in walk(term))
            ),
            None,
        )
        if total is None:
            return None
        step = ((helper.filename, total.loc, f"`{helper.facts.name}` only returns a new tensor"),)
    return step


def _may_be_written(model: Model, function: Function, apart: Guard, event: Event) -> bool:
    """May another call on the branch of ``event`` write the weight?"""
    frame = model.evaluator.frame(function)
    for other in function.events("call"):
        call = other.value
        there = any(
            guard.test is apart.test and guard.holds == apart.holds for guard in map(plain, other.guards)
        )
        if not there or not isinstance(call, Call) or call is event.value or is_log(call):
            continue
        callees = model.project.callees(call.func, function, function.owner)
        if callees and all(isinstance(item, Function) and is_pure(item) for item in callees):
            continue
        name = callee_name(call)
        reads = isinstance(call.func, Global) and name in _READS
        if not reads and not model.evaluator.calls.is_library_call(call, frame) and name not in _VIEWS:
            return True
    return False


def _is_read_later(model: Model, function: Function, event: Event, write: Event) -> bool:
    """Is the local read behind its assignment, the sibling branch aside (True if that is not known)?"""
    node = model.names.definition(function)
    if node is None:
        return True
    excluded: set[int] = set()
    for part in ast.walk(node):
        match part:
            case ast.For() | ast.While() | ast.AsyncFor() if _spans(part, event.row):
                return True
            case ast.If(body=body, orelse=orelse):
                for arm, other in ((body, orelse), (orelse, body)):
                    if any(_spans(s, event.row) for s in arm) and any(_spans(s, write.row) for s in other):
                        excluded.update(id(inner) for statement in other for inner in ast.walk(statement))
            case ast.Name(id="locals" | "vars" | "eval" | "exec"):
                return True
            case _:
                pass
    return not excluded or any(
        isinstance(part, ast.Name)
        and part.id == event.name
        and isinstance(part.ctx, ast.Load | ast.Del)
        and part.lineno > event.end_row
        and id(part) not in excluded
        for part in ast.walk(node)
    )


def _spans(node: ast.stmt, row: int) -> bool:
    return node.lineno <= row <= (node.end_lineno or node.lineno)
