"""Methods of tensors and modules, and of things out of sight."""

from __future__ import annotations

import ast
from typing import Any

from lorascale_lint.bounds import OWN_NAME, OWNER_LIMIT
from lorascale_lint.knowledge.members import COMMON_METHODS, TEXT_METHODS
from lorascale_lint.knowledge.operations import OF_TWO, OPERATIONS, SURE, ZEROS, changes_receiver
from lorascale_lint.knowledge.roles import ALPHA
from lorascale_lint.ledger.entries import Store
from lorascale_lint.linking.definitions import ClassInfo
from lorascale_lint.provenance.assignment import assign
from lorascale_lint.provenance.container_methods import of_dict
from lorascale_lint.provenance.containers import item_of, store_item, store_slice
from lorascale_lint.provenance.decorators import method
from lorascale_lint.provenance.heap import Entries
from lorascale_lint.provenance.lookups import presence, read_all
from lorascale_lint.provenance.machine import Machine, hole
from lorascale_lint.provenance.marks import WALKED
from lorascale_lint.provenance.modules import apply_module, call_place
from lorascale_lint.provenance.norms import norm_of, statistic_of
from lorascale_lint.provenance.objects import new_object, store_attribute
from lorascale_lint.provenance.operations import operation
from lorascale_lint.provenance.running import record_use
from lorascale_lint.provenance.scale import Scale
from lorascale_lint.provenance.shapes import NDIM_OF_ALPHA, extent, extents
from lorascale_lint.provenance.tensors import number, tensor
from lorascale_lint.provenance.text_methods import of_text
from lorascale_lint.provenance.unseen import instance
from lorascale_lint.provenance.values import (
    NONE,
    UNKNOWN,
    Keywords,
    Library,
    Method,
    Number,
    Place,
    Ref,
    Tensor,
    Text,
    Tup,
    Value,
    each,
    join,
    options,
)


def of_module(
    m: Machine, value: Ref, name: str, args: list[Value], named: dict[str, Value], node: ast.Call | None
) -> Value:
    match name:
        case "register_buffer" | "register_parameter" | "add_module" | "register_module" | "setattr":
            key = args[0] if args else named.get("name", UNKNOWN)
            item = (
                args[1]
                if len(args) > 1
                else named.get("tensor", named.get("param", named.get("module", NONE)))
            )
            if isinstance(key, Text) and key.literal:
                store_attribute(m, value, key.literal, item, node or ast.Pass(lineno=0))
            return NONE
        case (
            "to"
            | "cuda"
            | "cpu"
            | "half"
            | "float"
            | "eval"
            | "train"
            | "requires_grad_"
            | "type"
            | "apply"
            | "bfloat16"
        ):
            return value
        case "param" | "variable" | "add_weight":
            key = named.get("name") or (args[0] if args else UNKNOWN)
            shapes = [given for given in (named.get("shape", UNKNOWN), *args) if isinstance(given, Tup)]
            dims = extents(m, name, list(shapes[:1]), {})
            zero = any(map(_is_zeros, (*named.values(), *args)))
            if isinstance(key, Text) and key.literal:
                place = m.place(key.literal)
                found = tensor(place)
                if found is not None and found.kind in ("A", "B", "magnitude"):
                    return found
                if found is not None and found.kind == "base":
                    return Tensor("base", origin=key.literal)
                return Tensor("fresh", learned=True, origin=key.literal, dims=dims, zero=zero)
            return Tensor("fresh", learned=True, dims=dims, zero=zero)
        case "get" | "items" | "keys" | "values" | "pop" | "setdefault" | "update":
            entries = m.heap.read(value.key, "entries")
            if isinstance(entries, Entries):
                return of_dict(m, value, name, args, named)
            return UNKNOWN
        case "state_dict":
            path = f"{m.heap.read(value.key, '<path>') or 'self'}.state_dict()"
            m.heap.write(("place", path), "entries", Entries((), True))  # another dictionary at each call
            return Place(path, made="state dict")
        case _:
            return UNKNOWN


def of_tensor(
    m: Machine, value: Tensor, name: str, args: list[Value], named: dict[str, Value], node: ast.Call | None
) -> Value:
    if name in ("size",):
        return extent(m, value, args[0]) if args else Method(value, "shape")
    if name in ("dim", "numel", "ndimension", "element_size", "nelement", "data_ptr", "is_contiguous"):
        return Number(Scale.of("", f"{name} of a tensor"))
    if name in ("norm",):
        return norm_of(m, value, node)
    if name in ("forward", "__call__", "apply"):
        return apply_module(m, value, args, node)
    if name in ("sum", "mean", "max", "min", "abs", "std", "var", "amax", "median"):
        return statistic_of(m, name, value, node, whole=not args and not named)
    made_ = operation(m, name, [value, *args], named, node)
    if made_ is None:
        return opaque_method(value)
    if changes_receiver(name):
        if OPERATIONS.get(name) in ("multiply", "divide") and args:
            if number(args[0]) is not None and not m.initialising:
                m.folded(node or ast.Pass(lineno=0), made_)
            elif m.initialising:
                return value
        if OPERATIONS.get(name) == "copy_into" and value.kind == "base" and args:
            if m.recording and node is not None:  # the weight keeps its name, whatever is put there
                m.ledger.stores.append(Store(m.spot(node), value, "data", args[0], value, m.frame.guards))
        elif OPERATIONS.get(name) != "fill":
            write_back(m, node, made_)
        elif args and value.kind == "fresh" and (known := number(args[0])) is not None and known.scale.powers:
            write_back(m, node, known)  # a number that a tensor keeps
        return made_
    return made_


def opaque_method(value: Tensor) -> Value:
    """A method nobody knows, of a tensor: most likely a conversion."""
    return (
        value
        if value.kind in ("A", "B", "half", "delta", "adapted", "base", "magnitude", "kronecker")
        else Tensor("data", origin=value.origin)
    )


def write_back(m: Machine, node: ast.Call | None, value: Value) -> None:
    """``x.mul_(s)`` changes ``x``, also where ``x`` is ``self.lora_A.weight.data``."""
    if node is None or not isinstance(node.func, ast.Attribute):
        return
    target: ast.expr = node.func.value
    while isinstance(target, ast.Call) and isinstance(target.func, ast.Attribute):
        if OPERATIONS.get(target.func.attr) not in ("keep", "multiply", "divide"):
            return
        target = target.func.value
    while isinstance(target, ast.Attribute) and target.attr in ("data", "weight", "value"):
        held = m.evaluate(target.value)
        if all(isinstance(o.value, Tensor | Place) for o in options(held)):
            target = target.value
        else:
            break
    if isinstance(target, ast.Name | ast.Attribute | ast.Subscript):
        if isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Slice):
            store_slice(m, m.evaluate(target.value), value, target)
            return
        _restore(m, target, value, assign)


def _restore(m: Machine, target: ast.expr, value: Value, assign: Any) -> None:
    merged = all(isinstance(o.value, Tensor) and o.value.kind in ("adapted", "base") for o in options(value))
    if merged and not isinstance(target, ast.Name):
        return  # a merged weight is still the base weight to whoever looks at the class next
    assign(m, target, value)


def of_place(
    m: Machine, value: Value, name: str, args: list[Value], keywords: Keywords, node: ast.Call | None
) -> Value:
    named = dict(keywords)
    path = value.path if isinstance(value, Place) else "?"
    found = tensor(value)
    held = name in ("keys", "items", "values", "get", "pop", "append", "update", "setdefault")
    if isinstance(value, Place) and value.role == "magnitude" and value.weak and name not in OPERATIONS:
        held = held or "_" in name.strip("_")  # `for m in layers: m.set_scale(...)`: m is a module
    if found is not None and found.kind in ("A", "B", "magnitude", "kronecker") and not held:
        return of_tensor(m, found, name, args, named, node)
    if name in ("copy", "items", "values"):
        read_all(m, node, value)
    stored = m.heap.read(("place", path), name)
    if stored is not None:
        return m.call(stored, args, keywords, node)
    if name in TEXT_METHODS and found is None and isinstance(value, Place):
        return of_text(m, hole(path), name, args)
    match name:
        case "size":
            return extent(m, value, args[0]) if args else Method(value, "shape")
        case "items" | "keys" | "values" | "named_modules" | "named_parameters" | "named_children":
            return Method(value, f"{name}()")
        case "modules" | "children" | "parameters":
            return Place(f"{path}.{WALKED}")
        case "state_dict" | "get_tensors":
            return Place(f"{path}.state_dict()", None, False, made="state dict")
        case "get" | "pop" | "get_tensor" | "__getitem__" | "get_parameter" | "get_submodule" if args:
            made = each(args[0], lambda key: item_of(m, value, key))
            default = args[1] if len(args) > 1 else NONE if name in ("get",) else None
            if name in ("get_tensor", "__getitem__", "get_parameter", "get_submodule") or default is None:
                return made
            guard = presence(args[0], path)
            return join([(made, ((guard, True),)), (default, ((guard, False),))])
        case "setdefault" if len(args) > 1:
            store_item(m, value, args[0], args[1], node or ast.Pass(lineno=0))
            return args[1]
        case "update" if args:
            if isinstance(args[0], Ref) and isinstance(more := m.heap.read(args[0].key, "entries"), Entries):
                for key, item in more.pairs:
                    store_item(m, value, key, item, node or ast.Pass(lineno=0))
            record_use(m, node, f"{path}.update", None, args, keywords, NONE)
            return NONE
        case "register_buffer" | "register_parameter" | "add_module" if len(args) > 1:
            if isinstance(args[0], Text) and args[0].literal:
                store_attribute(m, value, args[0].literal, args[1], node or ast.Pass(lineno=0))
            return NONE
        case "append" | "extend" | "add" if name != "add":
            return NONE
        case "forward" | "__call__" | "_forward" | "call":
            return call_place(m, value, args, keywords, node)
        case "dim" | "ndimension" if isinstance(value, Place) and value.role == ALPHA:
            return NDIM_OF_ALPHA
        case "dim" | "numel":
            return Number(Scale.of("", f"{name} of a tensor"))
        case "norm":
            return norm_of(m, value, node)
        case "sum" | "mean" | "max" | "min":
            return Tensor("data", origin=path)
        case _:
            pass
    by_name = _by_unique_name(m, name, value, args)
    if by_name is not None:
        return m.call(by_name, args, keywords, node)
    effect = OPERATIONS.get(name)
    if len(args) > 2 and effect in OF_TWO:
        effect = None  # `model.add(name, up, down)`: no operation, whatever it is called
    if effect is not None and (found is not None or value_may_be_tensor(value) or effect in SURE):
        subject = found if found is not None else value
        if isinstance(subject, Tensor) and subject.kind == "base":
            return of_tensor(m, subject, name, args, named, node)
        made_ = operation(m, name, [subject, *args], named, node)
        if made_ is not None:
            if changes_receiver(name) and (
                (isinstance(made_, Tensor) and made_.kind not in ("adapted", "base", "data"))
                or (isinstance(made_, Number) and effect in ("multiply", "divide"))  # an activation, maybe
            ):
                write_back(m, node, made_)
            return made_
    made = call_place(m, m.place(name, value if isinstance(value, Place) else None), args, keywords, node)
    record_use(m, node, f"{path}.{name}", None, args, keywords, made)
    return made


def value_may_be_tensor(value: Value) -> bool:
    """Can the value be a tensor, by all that is known?"""
    return isinstance(value, Place) and value.made != "state dict"


def _by_unique_name(m: Machine, name: str, value: Value, args: list[Value]) -> Value | None:
    """A method that only one family of the project's classes has, of an object of unknown type."""
    if len(name) < OWN_NAME or name in OPERATIONS or name in COMMON_METHODS:
        return None
    owners = m.program.classes_with(name, m.frame.file)
    if not owners or len(owners) > OWNER_LIMIT:
        return None
    roots = {m.program.mro(cls)[-1] for cls in owners}
    if len(roots) > 1 and len(owners) > 1:
        return None

    cls = owners[0]
    return method(m, cls.methods[name], cls, _as_stored(m, cls, value))


def _as_stored(m: Machine, cls: ClassInfo, value: Value) -> Ref:
    """An object of ``cls`` in which the fields hold what was stored through ``value``."""
    any_one = instance(m, cls)
    stored = m.heap.of(("place", value.path)) if isinstance(value, Place) else []
    fields = {slot: held for slot, held in stored if isinstance(slot, str) and slot != "entries"}
    if not any(m.heap.read(any_one.key, slot) is not None for slot in fields):
        return any_one
    made = new_object(m, cls, "self")
    for slot, held in m.heap.of(any_one.key):
        m.heap.write(made.key, slot, held)
    for slot, held in fields.items():
        m.heap.write(made.key, slot, held)
    return made


def _is_zeros(start: Value) -> bool:
    """Is it the start value 0 of a framework: ``"zeros"``, ``nn.initializers.zeros``, ``Zeros()``?"""
    match start:
        case Text(literal=str() as name) | Library(name=name) | Place(path=name):
            return name.removesuffix("()").rpartition(".")[2].lower() in ZEROS
        case _:
            return False
