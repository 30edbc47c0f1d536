"""Calls: functions of the project run in place, classes make objects, libraries do what their table says."""

from __future__ import annotations

import ast

from lorascale_lint.bounds import STARRED_LIMIT
from lorascale_lint.knowledge.members import CALLED_BY_FRAMEWORK
from lorascale_lint.knowledge.operations import (
    FUNCTION_MODULES,
    LINEAR_MODULES,
    LOOK_UPS,
    MINDSPORE,
    PASSING_MODULES,
)
from lorascale_lint.knowledge.samples import opens_tensors
from lorascale_lint.linking.definitions import ClassInfo
from lorascale_lint.provenance.assignment import assign
from lorascale_lint.provenance.builtins import FUNCTIONS
from lorascale_lint.provenance.decorators import method
from lorascale_lint.provenance.fresh_tensors import start_value
from lorascale_lint.provenance.heap import Entries
from lorascale_lint.provenance.lookups import without_absent
from lorascale_lint.provenance.machine import Machine
from lorascale_lint.provenance.marks import REST
from lorascale_lint.provenance.methods import call_method
from lorascale_lint.provenance.modules import apply_base, apply_module, call_place, linear_module, opaque
from lorascale_lint.provenance.names import attribute
from lorascale_lint.provenance.objects import SuperOf, construct
from lorascale_lint.provenance.operations import operation
from lorascale_lint.provenance.running import record_use, run_function
from lorascale_lint.provenance.values import (
    UNKNOWN,
    Closure,
    Const,
    Element,
    Keywords,
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
    each,
    join,
)


def evaluate_call(m: Machine, node: ast.Call) -> Value:
    """A call expression."""
    if isinstance(node.func, ast.Name) and node.func.id == "super" and m.frame.names.find("super") is None:
        return SuperOf.make(m, [m.evaluate(arg) for arg in node.args])
    owner = None
    if isinstance(node.func, ast.Attribute):
        owner = m.evaluate(node.func.value)
        func: Value = UNKNOWN
    else:
        func = m.evaluate(node.func)
    args: list[Value] = []
    keywords: Keywords = []
    hidden = False
    rest: list[Value] = []
    rows: tuple[int, Union] | None = None
    for argument in node.args:
        if isinstance(argument, ast.Starred):
            value = m.evaluate(argument.value)
            held = m.elements(value)
            if held is not None:
                args += held[0]
                hidden |= held[1]
            elif isinstance(value, Method) and value.name == "shape":
                args.append(value)
            elif rows is None and isinstance(value, Union) and _are_rows(value):
                rows = len(args), value
            else:
                hidden = True
        else:
            args.append(m.evaluate(argument))
    for keyword in node.keywords:
        value = m.evaluate(keyword.value)
        if keyword.arg is not None:
            keywords.append((keyword.arg, value))
        elif isinstance(value, Ref) and isinstance(entries := m.heap.read(value.key, "entries"), Entries):
            rest.append(value)
            known = [(key.literal, item) for key, item in entries.pairs if isinstance(key, Text)]
            keywords += [(name, without_absent(item)) for name, item in known if name]
            hidden |= entries.open or not all(name for name, _ in known) or len(known) < len(entries.pairs)
        else:
            hidden = True
    if hidden:
        keywords.append((REST, rest[0] if len(rest) == 1 else UNKNOWN))

    def called(given: list[Value]) -> Value:
        if owner is not None and isinstance(node.func, ast.Attribute):
            return call_attribute(m, owner, node.func.attr, given, keywords, node)
        return call(m, func, given, keywords, node)

    if rows is None:
        return called(args)
    at, found = rows
    ways = []
    for option in found.options:
        if m.excluded(option.guards):
            continue
        outer, m.frame.guards = m.frame.guards, (*m.frame.guards, *option.guards)
        row = list(option.value.items) if isinstance(option.value, Tup) else []
        ways.append((called([*args[:at], *row, *args[at:]]), option.guards))
        m.frame.guards = outer
    return join(ways) if ways else UNKNOWN


def _are_rows(value: Union) -> bool:
    """``*(a, b)`` or ``*(b, a)``: which of them is not known, but what each of them holds."""
    lengths = {len(option.value.items) if isinstance(option.value, Tup) else 0 for option in value.options}
    return len(lengths) == 1 and 0 not in lengths and len(value.options) <= STARRED_LIMIT


def call_attribute(
    m: Machine, owner: Value, name: str, args: list[Value], keywords: Keywords, node: ast.Call | None
) -> Value:
    """``owner.name(...)``."""
    match owner:
        case Union(options=found):
            ways = []
            for option in found:
                if m.excluded(option.guards):
                    continue
                outer, m.frame.guards = m.frame.guards, (*m.frame.guards, *option.guards)
                ways.append((call_attribute(m, option.value, name, args, keywords, node), option.guards))
                m.frame.guards = outer
            return join(ways) if ways else UNKNOWN
        case Place() | Element() | Tensor() | SuperOf():
            return call_method(m, owner, name, args, keywords, node)
        case _:
            return call(m, attribute(m, owner, name), args, keywords, node)


def call(m: Machine, func: Value, args: list[Value], keywords: Keywords, node: ast.Call | None) -> Value:
    """What calling ``func`` gives; ``node`` is None where no source says so."""
    match func:
        case Union(options=found):
            ways = []
            for option in found:
                if m.excluded(option.guards):
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
            if ("requires_grad", Const(True)) in keywords:  # a tensor class of the project
                args = [each(argument, start_value) for argument in args]
            made = construct(m, cls, args, keywords, node)
            record_use(m, node, cls.qualname, cls, args, keywords, made)
            return made
        case SuperOf():
            return UNKNOWN
        case Method(receiver=receiver, name=name):
            return call_method(m, receiver, name, args, keywords, node)
        case Library(name=name):
            made = call_library(m, name, args, keywords, node)
            record_use(m, node, name, None, args, keywords, made)
            return made
        case Ref(kind="object", cls=ClassInfo() as cls):
            for name in CALLED_BY_FRAMEWORK:
                found_method = m.program.method(cls, name)
                if found_method is not None:
                    return call(m, method(m, *found_method, func), args, keywords, node)
            return apply_base(m, func, args)
        case Ref(kind="list"):  # nn.Sequential
            held = m.elements(func)
            passed = args[0] if args else UNKNOWN
            for layer in held[0] if held is not None else []:
                passed = call(m, layer, [passed], [], node)
            return passed
        case Ref(kind="object"):
            return UNKNOWN
        case Tensor():
            return apply_module(m, func, args, node)
        case Place() | Element():
            made = call_place(m, func, args, keywords, node)
            if isinstance(func, Place):
                record_use(m, node, func.path, None, args, keywords, made)
            return made
        case _:
            return UNKNOWN


def call_library(
    m: Machine, name: str, args: list[Value], keywords: Keywords, node: ast.Call | None
) -> Value:
    """What a function of a library or of Python itself gives."""
    owner, _, last = name.rpartition(".")
    if last in LOOK_UPS and owner and args and isinstance(args[0], Text | Tup | Number):
        return call_method(m, m.place(owner.rpartition(".")[2]), last, args, keywords, node)
    handler = FUNCTIONS.get(name) or (FUNCTIONS.get(f"*.{last}"))
    if handler is None and args and opens_tensors(last):
        handler = FUNCTIONS["*.load_file"]
    if handler is not None:
        return handler(m, args, dict(keywords), node)
    if last in PASSING_MODULES:
        return Library("builtins.<same>")
    if last in FUNCTION_MODULES:
        return Library(f"torch.{FUNCTION_MODULES[last]}")
    if name.startswith("mindspore.") and last in MINDSPORE:
        turned = ("transpose_b", Const(True)) in keywords
        return Library("mindspore.ops." + ("linear" if turned else MINDSPORE[last]))
    if last in LINEAR_MODULES or last.endswith(("Linear", "Dense")):
        return linear_module(m, args, dict(keywords), last)
    made = operation(m, last, args, dict(keywords), node)
    if made is not None:
        for keyword in node.keywords if node is not None else ():
            if keyword.arg == "out":
                assign(m, keyword.value, made)  # `torch.mul(delta, scale, out=delta)`
        return made
    return opaque(m, name, args, keywords)
