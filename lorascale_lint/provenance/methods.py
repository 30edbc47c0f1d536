"""Calls of methods, by what the receiver is."""

from __future__ import annotations

import ast

from lorascale_lint.knowledge.interfaces import NAMED_TEXTS, WRITES_ENTRY
from lorascale_lint.knowledge.members import CALLED_BY_FRAMEWORK
from lorascale_lint.knowledge.operations import KEEPERS, OPERATIONS, changes_receiver
from lorascale_lint.ledger.entries import KeyRead, KeyWrite
from lorascale_lint.provenance.container_methods import of_dict, of_list, of_tuple
from lorascale_lint.provenance.decorators import method
from lorascale_lint.provenance.literals import of_match
from lorascale_lint.provenance.lookups import read_entry, took_all, wrote
from lorascale_lint.provenance.machine import Machine
from lorascale_lint.provenance.modules import apply_base, construct_base
from lorascale_lint.provenance.numbers import asked
from lorascale_lint.provenance.objects import SuperOf
from lorascale_lint.provenance.operations import operation
from lorascale_lint.provenance.regexes import of_pattern
from lorascale_lint.provenance.running import record_use
from lorascale_lint.provenance.shapes import extent
from lorascale_lint.provenance.tensor_methods import of_module, of_place, of_tensor, write_back
from lorascale_lint.provenance.text_methods import of_text
from lorascale_lint.provenance.values import (
    NONE,
    UNKNOWN,
    Element,
    Keywords,
    Klass,
    Library,
    Matched,
    Method,
    Number,
    Place,
    Ref,
    Regex,
    Tensor,
    Text,
    Tup,
    Union,
    Value,
    options,
)


def call_method(
    m: Machine, receiver: Value, name: str, args: list[Value], keywords: Keywords, node: ast.Call | None
) -> Value:
    """``receiver.name(*args)``."""
    named = dict(keywords)
    if name == "is_integer" and node is not None:
        asked(m, node, name, receiver)
    if name in ("get", "pop", "get_tensor", "setdefault") and args and not isinstance(receiver, Union):
        found = _dispatch(m, receiver, name, args, keywords, named, node)
        how = "pop" if name == "pop" else "item" if name == "get_tensor" else "get"
        if name == "pop" and node is not None and node is m.frame.dropped:
            how = "del"
        read_entry(m, node or ast.Pass(lineno=0), receiver, args[0], found, how)
        return found
    if name == "clear" and node is not None and m.recording:
        m.ledger.reads.append(KeyRead(m.spot(node), receiver, UNKNOWN, UNKNOWN, "clear", m.frame.guards))
    if name in WRITES_ENTRY and len(args) > 1 and node is not None:
        wrote(m, node, receiver, _key(args[0]), args[1])
    if name in KEEPERS and args:
        _kept(m, receiver, name, args, node)
    if name == "clear" and isinstance(receiver, Ref):
        record_use(m, node, "dict.clear", None, args, keywords, NONE)
    if name == "update" and args:
        took_all(m, node, receiver, args[0])
    if name == "update" and node is not None and named:
        for keyword in node.keywords:
            if keyword.arg in named:
                wrote(m, keyword.value, receiver, Text((keyword.arg,)), named[keyword.arg])
    return _dispatch(m, receiver, name, args, keywords, named, node)


def _key(value: Value) -> Value:
    """The text that a constant of a library is."""
    dotted = value.name if isinstance(value, Library) else ""
    return next((Text((text,)) for end, text in NAMED_TEXTS.items() if dotted.endswith(f".{end}")), value)


def _kept(m: Machine, receiver: Value, name: str, args: list[Value], node: ast.Call | None) -> None:
    """Writes down what a list or something out of sight is given to keep."""
    match receiver:
        case Ref(kind="list", key=key):
            record_use(m, node, name, None, args, [], NONE)
            field = m.heap.read(key, "<path>")
            kept = (option.value for option in options(args[-1]))
            numbers = any(isinstance(v, Number) and any(s.role for s, _ in v.scale.powers) for v in kept)
            if field and numbers and node is not None and m.recording:
                m.ledger.writes.append(
                    KeyWrite(m.spot(node), receiver, UNKNOWN, args[-1], m.frame.guards, str(field))
                )
        case Place(path=path, role=None):
            record_use(m, node, f"{path}.{name}", None, args, [], NONE)
        case _:
            pass


def _dispatch(
    m: Machine,
    receiver: Value,
    name: str,
    args: list[Value],
    keywords: Keywords,
    named: dict[str, Value],
    node: ast.Call | None,
) -> Value:
    match receiver:
        case SuperOf():
            return _of_super(m, receiver, name, args, keywords, node)
        case Text():
            return of_text(m, receiver, name, args, named)
        case Regex():
            return of_pattern(m, receiver, name, args) or UNKNOWN
        case Matched():
            return of_match(m, receiver, name, args)
        case Ref(kind="list"):
            return of_list(m, receiver, name, args)
        case Ref(kind="dict"):
            return of_dict(m, receiver, name, args, named)
        case Tup():
            return of_tuple(m, receiver, name, args)
        case Ref(kind="object"):
            return of_module(m, receiver, name, args, named, node)
        case Tensor():
            return of_tensor(m, receiver, name, args, named, node)
        case Place() | Element():
            return of_place(m, receiver, name, args, keywords, node)
        case Method(receiver=inner, name="shape"):
            return extent(m, inner, args[0]) if name == "__getitem__" and args else UNKNOWN
        case Number():
            if name in (
                "item",
                "float",
                "to",
                "detach",
                "cpu",
                "double",
                "numpy",
                "clone",
                "type",
                "astype",
                "half",
                "cuda",
                "tolist",
                "view",
                "reshape",
            ):
                return receiver
            made = operation(m, name, [receiver, *args], named, node)
            effect = OPERATIONS.get(name)
            if (
                changes_receiver(name)
                and args
                and isinstance(made, Number)
                and effect in ("multiply", "divide")
            ):
                write_back(m, node, made)  # a buffer that keeps a scale
            elif name == "fill_" or effect == "copy_into":
                write_back(m, node, args[0] if args else UNKNOWN)
            return made if made is not None else UNKNOWN
        case _:
            return UNKNOWN


def _of_super(
    m: Machine,
    receiver: SuperOf,
    name: str,
    args: list[Value],
    keywords: Keywords,
    node: ast.Call | None,
) -> Value:

    target = receiver.receiver
    cls = target.cls if isinstance(target, Ref) else target.info if isinstance(target, Klass) else None
    if cls is None:
        return UNKNOWN
    order = m.program.mro(cls)
    rest = order[order.index(receiver.after) + 1 :] if receiver.after in order else []
    for item in rest:
        if name in item.methods:
            info = item.methods[name]
            return m.call(method(m, info, item, target), args, keywords, node)
    if name == "__init__" and isinstance(target, Ref):
        construct_base(m, target, m.program.library_bases(cls), args, keywords)
        return NONE
    if name in (*CALLED_BY_FRAMEWORK, "_forward", "forward_cuda"):
        return apply_base(m, target, args)
    if isinstance(target, Ref):
        return of_module(m, target, name, args, dict(keywords), node)
    return UNKNOWN
