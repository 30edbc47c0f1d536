"""Runs a function of the project in place: arguments, body, results."""

from __future__ import annotations

import ast
import builtins

from lorascale_lint.bounds import AWAY_STEPS, CHAIN_LIMIT, DEPTH_LIMIT, RECURSION_LIMIT, SMALL_FUNCTION
from lorascale_lint.knowledge.interfaces import WRITES_NAMED
from lorascale_lint.knowledge.kinds import restores
from lorascale_lint.knowledge.operations import INITIALISERS, OPERATIONS
from lorascale_lint.knowledge.roles import BASE, FACTORS, MULTIPLIER, NUMBERS, SCALING, STRENGTH
from lorascale_lint.knowledge.speech import speaks_of_scales
from lorascale_lint.ledger.entries import Use
from lorascale_lint.linking.definitions import ClassInfo, FunctionInfo
from lorascale_lint.provenance.frames import Frame
from lorascale_lint.provenance.heap import Names
from lorascale_lint.provenance.lookups import learn, row
from lorascale_lint.provenance.machine import Machine, OutOfSteps
from lorascale_lint.provenance.marks import REST
from lorascale_lint.provenance.meanings import named
from lorascale_lint.provenance.modules import opaque
from lorascale_lint.provenance.tensors import tensor
from lorascale_lint.provenance.tuples import packed
from lorascale_lint.provenance.values import (
    NONE,
    UNKNOWN,
    Closure,
    Keywords,
    Number,
    Partial,
    Place,
    Ref,
    Tensor,
    Text,
    Tup,
    Value,
    join,
    options,
)


def record_use(
    m: Machine,
    node: ast.Call | None,
    name: str,
    callee: FunctionInfo | ClassInfo | None,
    args: list[Value],
    keywords: Keywords,
    result: Value,
) -> None:
    """Writes a call into the ledger."""
    if m.recording and node is not None and name.removeprefix("builtins.") not in _PYTHON:
        given = {str(index): value for index, value in enumerate(args)}
        if callee is not None:
            found = m.program.method(callee, "__init__") if isinstance(callee, ClassInfo) else None
            init = callee if found is None else found[0]
            if isinstance(init, FunctionInfo):
                names = (
                    init.parameters[1:]
                    if isinstance(callee, ClassInfo) or (init.owner and not init.is_static)
                    else init.parameters
                )
                given = dict(zip(names, args, strict=False))
            elif isinstance(callee, ClassInfo) and (fields := declared_fields(m, callee)):
                given = dict(zip(fields, args, strict=False))
        given.update(keywords)
        rest = given.pop(REST, None)
        given = {key: row(m, value) for key, value in given.items()}
        if callee is None and name.rpartition(".")[2] in WRITES_NAMED:
            for key, value in given.items():
                learn(m, Text((key,)), value)
        m.ledger.uses.append(
            Use(m.spot(node), name, callee, given, result, m.frame.guards, rest is not None, rest or UNKNOWN)
        )


def declared_fields(m: Machine, cls: ClassInfo) -> list[str]:
    """Fields of a dataclass, named tuple or the like, in order: what calls of it are given."""
    return list(dict.fromkeys(name for item in reversed(m.program.mro(cls)) for name in item.declared))


_PYTHON = frozenset(dir(builtins))
"""Python's own functions; a name that is nowhere bound (a star import) is no such."""


def run_function(
    m: Machine, func: Closure, args: list[Value], keywords: Keywords, node: ast.Call | None
) -> Value:
    """Run a function of the project on these arguments."""
    info = func.info
    running = [frame.function for frame in m.stack].count(info)
    if len(m.stack) >= DEPTH_LIMIT or running >= RECURSION_LIMIT:
        if running >= RECURSION_LIMIT:
            m.memory.recursed(info, [frame.function for frame in m.stack])
        else:
            m.memory.lose()
        return Place(f"{info.name}()", made="call")
    if info.is_left_open and info.owner is not None:  # whoever inherits it is out of sight
        return m.call(m.place(info.name, Place("self")), args, keywords, node)
    if info in m.far:
        return _by_name(m, info, args, keywords, node)
    if not _worth(m, func, args, keywords) or (restores(info.name) and any(map(_is_factor, args))):
        return opaque(m, info.name, args, keywords)
    guards = m.frame.guards if m.stack else ()
    body = _only_effects(m, func, node)
    key = _key(m, func, args, keywords, running, body is None)
    m.called.add(info)
    made = m.memory.find(key, guards)
    if made is None:
        trace = m.memory.begin(info, len(m.stack), guards)
        try:
            made = _run_within(m, func, args, keywords, node, body)
        finally:
            m.memory.end(trace, key, made)
    if m.stack:
        explicit = func.receiver is None and info.owner is not None and not info.is_static
        record_use(m, node, info.qualname, info, args[explicit:], keywords, made)
    return made


def _only_effects(m: Machine, func: Closure, node: ast.Call | None) -> list[ast.stmt] | None:
    """What to run where nobody asks for the result, nor for what happens on the way; None for all."""
    info = func.info
    dropped = node is not None and bool(m.stack) and node is m.frame.dropped
    if m.recording or not (dropped or info.name == "__init__"):
        return None
    receiver = func.receiver
    found = m.effects.of(info, receiver.cls) if isinstance(receiver, Ref) else None
    return None if found is None else found[0]


def _key(
    m: Machine, func: Closure, args: list[Value], keywords: Keywords, running: int, whole: bool
) -> object | None:
    """What a call is given; None for a function inside another, whose names may change."""
    if func.env is not None:
        return None
    given = (*args, *(value for _, value in keywords))
    steps = tuple((*value.steps, value.norm, value.summed) for value in given if isinstance(value, Tensor))
    names = tuple(id(value.env) for value in given if isinstance(value, Closure))
    around = (m.frame.lora if m.stack else None, m.recording, m.initialising, running, whole)
    return (func.info, func.receiver, func.owner, tuple(args), tuple(keywords), steps, names, around)


def _run_within(
    m: Machine,
    func: Closure,
    args: list[Value],
    keywords: Keywords,
    node: ast.Call | None,
    body: list[ast.stmt] | None,
) -> Value:
    """Run it; code that does not speak of LoRA gets a part of the steps that are left for who calls it."""
    info, outer = func.info, m.limit
    if not m.stack or m.on_trial or m.speaks(info, info.file, info.owner or func.owner):
        return _run(m, func, args, keywords, node, body)
    steps, journals, depth, guards = m.steps, len(m.heap.journals), len(m.stack), m.frame.guards
    m.limit = min(outer, steps + AWAY_STEPS)
    try:
        return _run(m, func, args, keywords, node, body)
    except OutOfSteps:
        if m.limit == outer:
            raise
        m.far.add(info)
        del m.stack[depth:]
        m.take_back(journals, guards)
        m.steps = steps
        return _by_name(m, info, args, keywords, node)
    finally:
        m.limit = outer


def _by_name(
    m: Machine, info: FunctionInfo, args: list[Value], keywords: Keywords, node: ast.Call | None
) -> Value:
    """What a call gives of which its name alone is known: ``ops.matmul`` is a product in any library."""
    if info.name in OPERATIONS and info.owner is None:
        return m.call(m.place(info.name), args, keywords, node)
    return opaque(m, info.name, args, keywords)


def _run(
    m: Machine,
    func: Closure,
    args: list[Value],
    keywords: Keywords,
    node: ast.Call | None,
    body: list[ast.stmt] | None,
) -> Value:
    info = func.info
    receiver = func.receiver
    if info.owner is not None and not info.is_static:
        if receiver is not None:
            args = [receiver, *args]
        elif args and isinstance(args[0], Ref) and args[0].cls is not None:
            receiver = args[0]  # `Class.method(self, ...)`, or by a wrapper that passes all on
    names = Names({}, func.env if func.env is not None or info.owner is None else info.owner.names)
    frame = Frame(info.file, info, names, receiver, func.owner or info.owner, body=body)
    frame.lora = m.speaks(info, info.file, info.owner or func.owner) or bool(m.stack and m.frame.lora)
    if m.stack:
        outer = m.frame
        here = f"{outer.file.filename}:{getattr(node, 'lineno', 0)}"
        frame.chain = (*outer.chain[1 - CHAIN_LIMIT :], here) if node is not None else outer.chain
        frame.guards = outer.guards
    m.enter(frame)
    initialiser = info.name in INITIALISERS
    m.initialising += initialiser
    m.heap.begin()
    try:
        bind(m, frame, info, args, keywords)
        return finish(m, frame, info)
    finally:
        m.initialising -= initialiser
        m.leave(frame)


def _worth(m: Machine, func: Closure, args: list[Value], keywords: Keywords) -> bool:
    """Can a call matter to a scale? It is small, speaks of LoRA itself, or is given something with a role."""
    node = func.info.node
    if (node.end_lineno or 0) - node.lineno < SMALL_FUNCTION or (
        isinstance(func.receiver, Ref) and func.receiver.kind != "object"
    ):
        return True
    given = [*args, *(value for _, value in keywords)]
    if any(has_role(value) for value in given):
        return True
    known = m.own_words.get(func.info)
    if known is None:
        known = m.own_words[func.info] = speaks_of_scales(func.info.file.text(node))
    return known


def _is_factor(value: Value) -> bool:
    held = (tensor(option.value) for option in options(value))
    return any(found is not None and found.kind in FACTORS for found in held)


def has_role(value: Value) -> bool:
    """Is the value, or one of its alternatives, something of LoRA code?"""
    for option in options(value):
        match option.value:
            case Tensor(kind=kind):
                if kind not in ("data", "mask", "norm"):
                    return True
            case Number(scale=scale):
                if any(symbol.role for symbol, _ in scale.powers):
                    return True
            case Place(role=role):
                if role is not None:
                    return True
            case Closure() | Partial():
                return True
            case Tup(items=items):
                if any(has_role(item) for item in items):
                    return True
            case _:
                pass
    return False


def finish(m: Machine, frame: Frame, info: FunctionInfo) -> Value:
    if isinstance(info.node, ast.Lambda):
        value = m.evaluate(info.node.body)
        m.heap.keep()
        return value
    start = frame.guards
    falls = not m.block(info.node.body if frame.body is None else frame.body)
    last = frame.guards
    made = m.heap.undo()
    ways = list(frame.exits)
    if falls:
        ways.append((made, last))
        frame.returns.append((NONE, last))
    frame.guards = start
    if ways:
        own = [(changed, _own(guards, start)) for changed, guards in ways]
        m.heap.apply(own)
    if frame.yields:
        return m.new_list(frame.yields, True)
    if not frame.returns:
        return UNKNOWN
    return join([(value, _own(guards, start)) for value, guards in frame.returns])


def _own(
    guards: tuple[tuple[str, bool], ...], outer: tuple[tuple[str, bool], ...]
) -> tuple[tuple[str, bool], ...]:
    """Conditions that the function added."""
    return (
        guards[len(outer) :] if guards[: len(outer)] == outer else tuple(g for g in guards if g not in outer)
    )


def bind(m: Machine, frame: Frame, info: FunctionInfo, args: list[Value], keywords: Keywords) -> None:
    """Give every parameter its argument, its default, or a place named after it."""
    node, plain, defaults = info.node.args, info.positional, info.defaults
    given = dict(keywords)
    hidden = given.pop(REST, None) is not None
    local = frame.names.local
    rest = list(args)
    for parameter in plain:
        name = parameter.arg
        if rest:
            local[name] = _argument(m, info, rest.pop(0), name)
        elif name in given:
            local[name] = _argument(m, info, given.pop(name), name)
    for parameter in node.kwonlyargs:
        if parameter.arg in given:
            local[parameter.arg] = _argument(m, info, given.pop(parameter.arg), parameter.arg)
    for parameter in (*plain, *node.kwonlyargs):
        if parameter.arg not in local:
            local[parameter.arg] = _default(m, parameter.arg, defaults.get(parameter.arg))
            if hidden:
                local[parameter.arg] = join([(local[parameter.arg], ()), (m.place(parameter.arg), ())])
    if node.vararg is not None:
        local[node.vararg.arg] = packed(rest)
    if node.kwarg is not None:
        pairs: list[tuple[Value, Value]] = [(Text((key,)), value) for key, value in given.items()]
        local[node.kwarg.arg] = m.new_dict(pairs, hidden)


def _argument(m: Machine, info: FunctionInfo, value: Value, name: str) -> Value:
    """``value`` as the parameter; a ``weight`` that is given for one number is no weight of a model."""
    if isinstance(value, Place) and value.role == BASE and value.weak and info.takes_number(name):
        value = Place(value.path, STRENGTH, True)
    return named(m, value, name)


def _default(m: Machine, name: str, default: ast.expr | None) -> Value:
    """A number that a caller may give stays that number, whatever it is by default."""
    place = m.place(name)
    if default is None:
        return place
    match default:
        case ast.Constant(value=bool()):
            pass
        case ast.Constant(value=int() | float()) if place.role in NUMBERS - {MULTIPLIER, SCALING}:
            return place
    return m.evaluate(default)
