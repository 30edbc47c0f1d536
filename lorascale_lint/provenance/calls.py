"""Calls: functions of the project run in place, classes make objects, libraries do what their table says."""

from __future__ import annotations

import ast
import builtins

from lorascale_lint.knowledge.operations import INITIALISERS
from lorascale_lint.knowledge.roles import NUMBERS, speaks_of_scales
from lorascale_lint.ledger.entries import Use
from lorascale_lint.linking.program import ClassInfo, FileInfo, FunctionInfo
from lorascale_lint.provenance import expressions, library, methods, objects
from lorascale_lint.provenance.heap import Entries, Names
from lorascale_lint.provenance.machine import DEPTH_LIMIT, Frame, Machine, OutOfSteps
from lorascale_lint.provenance.values import (
    NONE,
    UNKNOWN,
    Closure,
    Const,
    Element,
    Klass,
    Library,
    Method,
    Number,
    Partial,
    Place,
    Ref,
    Tensor,
    Text,
    Tup,
    Union,
    Value,
    contradict,
    join,
    options,
)

Keywords = list[tuple[str, Value]]


def evaluate_call(m: Machine, node: ast.Call) -> Value:
    """A call expression."""
    if isinstance(node.func, ast.Name) and node.func.id == "super" and m.frame.names.find("super") is None:
        return objects.SuperOf.make(m, [expressions.evaluate(m, arg) for arg in node.args])
    owner = None
    if isinstance(node.func, ast.Attribute):
        owner = expressions.evaluate(m, node.func.value)
        func: Value = UNKNOWN
    else:
        func = expressions.evaluate(m, node.func)
    args: list[Value] = []
    keywords: Keywords = []
    for argument in node.args:
        if isinstance(argument, ast.Starred):
            value = expressions.evaluate(m, argument.value)
            held = m.elements(value)
            if held is not None:
                args += held[0]
            elif isinstance(value, Method) and value.name == "shape":
                args.append(value)
        else:
            args.append(expressions.evaluate(m, argument))
    for keyword in node.keywords:
        value = expressions.evaluate(m, keyword.value)
        if keyword.arg is not None:
            keywords.append((keyword.arg, value))
        elif isinstance(value, Ref) and isinstance(entries := m.heap.read(value.key, "entries"), Entries):
            keywords += [
                (key.literal, expressions.without_absent(item))
                for key, item in entries.pairs
                if isinstance(key, Text) and key.literal
            ]
    if owner is not None and isinstance(node.func, ast.Attribute):
        return call_attribute(m, owner, node.func.attr, args, keywords, node)
    return call(m, func, args, keywords, node)


def call_attribute(
    m: Machine, owner: Value, name: str, args: list[Value], keywords: Keywords, node: ast.Call | None
) -> Value:
    """``owner.name(...)``."""
    match owner:
        case Union(options=found):
            ways = []
            for option in found:
                if contradict(option.guards, m.frame.guards):
                    continue
                outer, m.frame.guards = m.frame.guards, (*m.frame.guards, *option.guards)
                ways.append((call_attribute(m, option.value, name, args, keywords, node), option.guards))
                m.frame.guards = outer
            return join(ways) if ways else UNKNOWN
        case Place() | Element() | Tensor() | objects.SuperOf():
            return methods.call_method(m, owner, name, args, keywords, node)
        case _:
            return call(m, expressions.attribute(m, owner, name), args, keywords, node)


def call(m: Machine, func: Value, args: list[Value], keywords: Keywords, node: ast.Call | None) -> Value:
    """What calling ``func`` gives; ``node`` is None where no source says so."""
    match func:
        case Union(options=found):
            ways = []
            for option in found:
                if contradict(option.guards, m.frame.guards):
                    continue
                outer, m.frame.guards = m.frame.guards, (*m.frame.guards, *option.guards)
                ways.append((call(m, option.value, args, keywords, node), option.guards))
                m.frame.guards = outer
            return join(ways) if ways else UNKNOWN
        case Closure():
            return run_function(m, func, [*func.given, *args], [*func.keywords, *keywords], node)
        case Partial(callee=callee, args=given, keywords=named):
            merged = dict(named)
            merged.update(keywords)
            return call(m, callee, [*given, *args], list(merged.items()), node)
        case Klass(info=cls):
            made = objects.construct(m, cls, args, keywords, node)
            _used(m, node, cls.qualname, cls, args, keywords, made)
            return made
        case objects.SuperOf():
            return UNKNOWN
        case Method(receiver=receiver, name=name):
            return methods.call_method(m, receiver, name, args, keywords, node)
        case Library(name=name):
            made = library.call_library(m, name, args, keywords, node)
            _used(m, node, name, None, args, keywords, made)
            return made
        case Ref(kind="object", cls=ClassInfo() as cls):
            for name in ("__call__", "forward", "call"):
                found_method = m.program.method(cls, name)
                if found_method is not None:
                    bound = Closure(found_method[0], func, owner=found_method[1])
                    return run_function(m, bound, args, keywords, node)
            return library.apply_base(m, func, args)
        case Ref(kind="list"):  # nn.Sequential
            held = m.elements(func)
            passed = args[0] if args else UNKNOWN
            for layer in held[0] if held is not None else []:
                passed = call(m, layer, [passed], [], node)
            return passed
        case Ref(kind="object"):
            return UNKNOWN
        case Tensor():
            return library.apply_module(m, func, args, node)
        case Place() | Element():
            made = library.call_place(m, func, args, keywords, node)
            if isinstance(func, Place):
                _used(m, node, func.path, None, args, keywords, made)
            return made
        case _:
            return UNKNOWN


def _used(
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
        given.update(keywords)
        given = {key: _row(m, value) for key, value in given.items()}
        m.ledger.uses.append(Use(m.spot(node), name, callee, given, result, m.frame.guards))


_PYTHON = frozenset(dir(builtins))
"""Python's own functions; a name that is nowhere bound (a star import) is no such."""


def _row(m: Machine, value: Value) -> Value:
    """A list as the row of what it holds now: the ledger outlives the heap."""
    if isinstance(value, Ref) and value.kind == "list":
        held = m.elements(value)
        return Tup(tuple(held[0])) if held is not None else value
    return value


def run_function(
    m: Machine, func: Closure, args: list[Value], keywords: Keywords, node: ast.Call | None
) -> Value:
    """Run a function of the project on these arguments."""
    info = func.info
    running = sum(1 for frame in m.stack if frame.function is info)
    if len(m.stack) >= DEPTH_LIMIT or running >= 2:
        return Place(f"{info.name}()", made="call")
    if not _worth(m, func, args, keywords):
        return library.opaque(m, info.name, args, keywords)
    key = _key(func, args, keywords)
    if key is not None and key in m.results:
        if m.stack:
            _used(m, node, info.qualname, info, args, keywords, m.results[key])
        return m.results[key]
    if info.owner is not None and not info.is_static and func.receiver is not None:
        args = [func.receiver, *args]
    m.called.add(info)
    size = len(m.heap.cells)
    names = Names({}, func.env if func.env is not None or info.owner is None else info.owner.names)
    frame = Frame(info.file, info, names, func.receiver, func.owner or info.owner)
    frame.lora = m.speaks(info, info.file, info.owner or func.owner) or bool(m.stack and m.frame.lora)
    if m.stack:
        outer = m.frame
        here = f"{outer.file.filename}:{getattr(node, 'lineno', 0)}"
        frame.chain = (*outer.chain[-5:], here) if node is not None else outer.chain
        frame.guards = outer.guards
    m.enter(frame)
    initialiser = info.name in INITIALISERS
    m.initialising += initialiser
    m.heap.begin()
    try:
        bind(m, frame, info, args, keywords)
        made = _finish(m, frame, info)
    finally:
        while len(m.heap.journals) > frame.journal:
            m.heap.keep()
        m.initialising -= initialiser
        m.stack.pop()
    if key is not None and len(m.heap.cells) == size:
        m.results[key] = made
    plain = args[1:] if info.owner is not None and not info.is_static and func.receiver is not None else args
    if m.stack:
        _used(m, node, info.qualname, info, plain, keywords, made)
    return made


_PLAIN = (Place, Number, Text, Const, Tensor, Library)


def _key(func: Closure, args: list[Value], keywords: Keywords) -> object | None:
    """What the result of a call depends on, if that is nothing on the heap."""
    if func.env is not None or not (func.receiver is None or isinstance(func.receiver, Klass)):
        return None
    given = (*args, *(value for _, value in keywords))
    if not all(isinstance(value, _PLAIN) for value in given):
        return None
    return (func.info, func.receiver, tuple(args), tuple(keywords))


SMALL = 25
"""Rows of a function that is followed whatever it is about: properties, getters, little helpers."""


def _worth(m: Machine, func: Closure, args: list[Value], keywords: Keywords) -> bool:
    """Can a call matter to a scale? It is small, speaks of LoRA itself, or is given something with a role."""
    node = func.info.node
    if (node.end_lineno or 0) - node.lineno < SMALL or (
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


def _finish(m: Machine, frame: Frame, info: FunctionInfo) -> Value:
    from lorascale_lint.provenance.statements import block

    if isinstance(info.node, ast.Lambda):
        value = expressions.evaluate(m, info.node.body)
        m.heap.keep()
        return value
    start = frame.guards
    falls = not block(m, info.node.body)
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
    node = info.node.args
    plain = [*node.posonlyargs, *node.args]
    defaults = dict(
        zip([p.arg for p in plain[len(plain) - len(node.defaults) :]], node.defaults, strict=True)
    )
    defaults.update(
        {p.arg: d for p, d in zip(node.kwonlyargs, node.kw_defaults, strict=True) if d is not None}
    )
    given = dict(keywords)
    local = frame.names.local
    rest = list(args)
    for parameter in plain:
        name = parameter.arg
        if rest:
            local[name] = expressions.named(m, rest.pop(0), name)
        elif name in given:
            local[name] = expressions.named(m, given.pop(name), name)
    for parameter in node.kwonlyargs:
        if parameter.arg in given:
            local[parameter.arg] = expressions.named(m, given.pop(parameter.arg), parameter.arg)
    for parameter in (*plain, *node.kwonlyargs):
        if parameter.arg not in local:
            local[parameter.arg] = _default(m, parameter.arg, defaults.get(parameter.arg))
    if node.vararg is not None:
        local[node.vararg.arg] = Tup(tuple(rest))
    if node.kwarg is not None:
        pairs: list[tuple[Value, Value]] = [(Text((key,)), value) for key, value in given.items()]
        local[node.kwarg.arg] = m.new_dict(pairs)


def _default(m: Machine, name: str, default: ast.expr | None) -> Value:
    """A number that a caller may give stays that number, whatever it is by default."""
    place = m.place(name)
    if default is None:
        return place
    match default:
        case ast.Constant(value=bool()):
            pass
        case ast.Constant(value=int() | float()) if place.role in NUMBERS:
            return place
    return expressions.evaluate(m, default)


def bind_unknown(m: Machine, frame: Frame, info: FunctionInfo) -> None:
    """Every parameter is a place named after it: the function as its file alone shows it."""
    node = info.node.args
    plain = [*node.posonlyargs, *node.args]
    receiver = bool(plain) and info.owner is not None and not info.is_static
    defaults = dict(
        zip([p.arg for p in plain[len(plain) - len(node.defaults) :]], node.defaults, strict=True)
    )
    defaults.update(
        {p.arg: d for p, d in zip(node.kwonlyargs, node.kw_defaults, strict=True) if d is not None}
    )
    for index, parameter in enumerate((*plain, *node.kwonlyargs)):
        name = parameter.arg
        if receiver and index == 0:
            frame.names.local[name] = frame.receiver if frame.receiver is not None else m.place(name)
            continue
        frame.names.local[name] = unknown_argument(m, parameter, defaults.get(name))
    if node.vararg is not None:
        frame.names.local[node.vararg.arg] = Place(node.vararg.arg)
    if node.kwarg is not None:
        frame.names.local[node.kwarg.arg] = m.new_dict([], True)


def unknown_argument(m: Machine, parameter: ast.arg, default: ast.expr | None) -> Value:
    """What a parameter is where no caller is in sight."""
    place = m.place(parameter.arg)
    note = "" if parameter.annotation is None else ast.unparse(parameter.annotation)
    if note and m.stack:
        found = m.program.resolve(
            m.frame.file,
            note.strip("\"'").removesuffix(" | None").removeprefix("Optional[").removesuffix("]"),
        )
        if isinstance(found, ClassInfo) and place.role is None:
            return objects.instance(m, found)
    if note == "str":
        from lorascale_lint.provenance.machine import hole

        return hole(parameter.arg)
    if place.role in ("A", "B") and place.weak and note in ("float", "int", "str", "bool"):
        return Place(place.path)
    if place.role == "base" and note in ("float", "int"):
        return Place(place.path, "multiplier", True)
    if isinstance(default, ast.Constant) and default.value is None and place.role is not None:
        guard = f"{parameter.arg}@{m.frame.number} is None"
        return join([(place, ((guard, False),)), (NONE, ((guard, True),))])
    if (
        place.role == "alpha"
        and place.weak
        and isinstance(default, ast.Constant)
        and default.value in (1, 1.0)
    ):
        return Place(f"{parameter.arg}=1", "alpha", True)  # a strength, unless a rank divides it
    if isinstance(default, ast.Constant) and isinstance(default.value, bool):
        return Place(parameter.arg)
    if isinstance(default, ast.Constant) and isinstance(default.value, str):
        return Place(parameter.arg)
    return place


def run_bindings(m: Machine, file: FileInfo, name: str) -> Value:
    """Run what the top level of a module does to a name."""
    if len(m.stack) >= DEPTH_LIMIT:
        return Place(name)
    frame = Frame(file, None, Names({}))
    frame.lora = m.speaks(None, file, None) or True
    m.enter(frame)
    journals, m.heap.journals = m.heap.journals, []
    frame.journal = 0
    recording, m.recording = m.recording, False
    try:
        from lorascale_lint.provenance.statements import run

        for statement in file.bindings[name]:
            if isinstance(statement, ast.For):
                continue
            run(m, statement)
        return frame.names.local.get(name, Place(name))
    finally:
        m.recording = recording
        m.heap.journals = journals
        m.stack.pop()


def fill(m: Machine, file: FileInfo, name: str) -> None:
    """Run the functions of a file that put something into a list or dictionary of its top level."""
    journals, m.heap.journals = m.heap.journals, []
    recording, m.recording = m.recording, False
    stack, m.stack, steps = m.stack, [], m.steps
    try:
        for info in [item for item in file.functions.values() if _fills(item, name)][:8]:
            m.steps = 0
            objects.run_unknown(m, info, None, None)
    except (OutOfSteps, RecursionError):
        pass
    finally:
        m.heap.journals, m.recording, m.stack, m.steps = journals, recording, stack, steps


def _fills(info: FunctionInfo, name: str) -> bool:
    for node in ast.walk(info.node):
        match node:
            case ast.Subscript(value=ast.Name(id=found), ctx=ast.Store()) if found == name:
                return True
            case ast.Call(
                func=ast.Attribute(
                    value=ast.Name(id=found), attr="append" | "update" | "setdefault" | "extend" | "add"
                )
            ) if found == name:
                return True
            case _:
                pass
    return False


__all__ = ["Const", "bind", "bind_unknown", "call", "evaluate_call", "run_function"]
