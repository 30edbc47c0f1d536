"""Methods of texts, lists, dictionaries, tensors and things out of sight."""

from __future__ import annotations

import ast
from typing import Any

from lorascale_lint.knowledge.operations import OPERATIONS
from lorascale_lint.knowledge.roles import key_role
from lorascale_lint.provenance import calls, expressions, keys, library, objects, tensors
from lorascale_lint.provenance.heap import ABSENT, Entries, Items
from lorascale_lint.provenance.machine import Machine, hole
from lorascale_lint.provenance.scale import Scale
from lorascale_lint.provenance.values import (
    NONE,
    UNKNOWN,
    Const,
    Element,
    Method,
    Number,
    Place,
    Ref,
    Tensor,
    Text,
    Tup,
    Union,
    Value,
    each,
    join,
    options,
)

Keywords = list[tuple[str, Value]]


def call_method(
    m: Machine, receiver: Value, name: str, args: list[Value], keywords: Keywords, node: ast.Call | None
) -> Value:
    """``receiver.name(*args)``."""
    named = dict(keywords)
    if name in ("get", "pop", "get_tensor", "setdefault") and args and not isinstance(receiver, Union):
        found = _dispatch(m, receiver, name, args, keywords, named, node)
        how = "pop" if name == "pop" else "item" if name == "get_tensor" else "get"
        if name == "pop" and node is not None and node is m.frame.dropped:
            how = "del"
        expressions.read_entry(m, node or ast.Pass(lineno=0), receiver, args[0], found, how)
        return found
    if name == "update" and node is not None and named:
        for keyword in node.keywords:
            if keyword.arg in named:
                expressions.wrote(m, keyword.value, receiver, Text((keyword.arg,)), named[keyword.arg])
    return _dispatch(m, receiver, name, args, keywords, named, node)


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
        case objects.SuperOf():
            return _of_super(m, receiver, name, args, keywords, node)
        case Text():
            return _of_text(m, receiver, name, args)
        case Ref(kind="list"):
            return _of_list(m, receiver, name, args)
        case Ref(kind="dict"):
            return _of_dict(m, receiver, name, args, named)
        case Tup():
            return _of_tuple(m, receiver, name, args)
        case Ref(kind="object"):
            return _of_module(m, receiver, name, args, named)
        case Tensor():
            return _of_tensor(m, receiver, name, args, named, node)
        case Place() | Element():
            return _of_place(m, receiver, name, args, keywords, node)
        case Method(receiver=inner, name="shape"):
            return library.extent(m, inner, args[0]) if name == "__getitem__" and args else UNKNOWN
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
            made = library.operation(m, name, [receiver, *args], named, node)
            return made if made is not None else UNKNOWN
        case _:
            return UNKNOWN


def _of_super(
    m: Machine,
    receiver: objects.SuperOf,
    name: str,
    args: list[Value],
    keywords: Keywords,
    node: ast.Call | None,
) -> Value:
    from lorascale_lint.provenance.values import Closure, Klass

    target = receiver.receiver
    cls = target.cls if isinstance(target, Ref) else target.info if isinstance(target, Klass) else None
    if cls is None:
        return UNKNOWN
    order = m.program.mro(cls)
    rest = order[order.index(receiver.after) + 1 :] if receiver.after in order else []
    for item in rest:
        if name in item.methods:
            info = item.methods[name]
            bound = None if info.is_static else target
            return calls.run_function(m, Closure(info, bound, owner=item), args, keywords, node)
    if name == "__init__" and isinstance(target, Ref):
        library.construct_base(m, target, m.program.library_bases(cls), args, keywords)
        return NONE
    if name in ("forward", "__call__", "call", "_forward", "forward_cuda"):
        return library.apply_base(m, target, args)
    if isinstance(target, Ref):
        return _of_module(m, target, name, args, dict(keywords))
    return UNKNOWN


# ---- texts --------------------------------------------------------------------------------


def _of_text(m: Machine, text: Text, name: str, args: list[Value]) -> Value:
    words = [value.literal if isinstance(value, Text) else None for value in args]
    if text.literal is not None and all(word is not None for word in words) and name in _PLAIN:
        made = getattr(text.literal, name)(*words)
        if isinstance(made, bool):
            return Const(made)
        if isinstance(made, str):
            return Text((made,)) if made else Text(())
        if isinstance(made, tuple):
            return Tup(tuple(Text((part,)) if part else Text(()) for part in made))
        if isinstance(made, list):
            return m.new_list([Text((part,)) if part else Text(()) for part in made])
    word = words[0] if words else None
    match name:
        case "replace" if len(words) >= 2 and word is not None and words[1] is not None:
            return keys.replaced(text, word, words[1])
        case "removesuffix" | "rstrip" if word:
            return keys.without_end(text, word)
        case "removeprefix" | "lstrip" if word:
            return keys.without_start(text, word)
        case "split" | "rsplit" if word:
            first, rest = keys.before(text, word), keys.after(text, word)
            return (
                Tup((first, rest))
                if _plain_split(text, word)
                else m.new_list([first, rest], True)
                if len(word) < 3
                else Tup((first, rest))
            )
        case "partition" | "rpartition" if word:
            return Tup((keys.before(text, word), Text((word,)), keys.after(text, word)))
        case "endswith" | "startswith":
            if args and isinstance(args[0], Tup):
                found = [
                    _ends(text, item.literal, name)
                    for item in args[0].items
                    if isinstance(item, Text) and item.literal
                ]
                known = True if True in found else None if None in found else False
            else:
                known = _ends(text, word, name) if word else None
            return UNKNOWN if known is None else Const(known)
        case "join":
            held = m.elements(args[0]) if args else None
            if held is None or held[1]:
                return keys.derived(text, "join", str(args))
            parts: list[Any] = []
            for index, value in enumerate(held[0]):
                parts += [*(text.parts if index else ()), *expressions.as_text(m, value).parts]
            return keys.text_of(parts)
        case "format":
            return keys.derived(text, "format", str(args))
        case "lower" | "upper" | "strip" | "encode" | "decode" | "title" | "casefold":
            return text if name in ("strip", "encode", "decode") else _changed(text, name)
        case _:
            return UNKNOWN


_PLAIN = frozenset(
    "replace removesuffix removeprefix split rsplit partition rpartition endswith startswith "
    "lower upper strip lstrip rstrip".split()
)


TEXT_METHODS = frozenset(
    "replace removesuffix removeprefix split rsplit partition rpartition endswith startswith "
    "rstrip lstrip".split()
)


def _changed(text: Text, name: str) -> Text:
    return Text(tuple(getattr(p, name)() if isinstance(p, str) else p for p in text.parts))


def _plain_split(text: Text, word: str) -> bool:
    return len(word) > 2


def _ends(text: Text, word: str | None, name: str) -> bool | None:
    if not word or not text.parts:
        return None
    end = text.parts[-1] if name == "endswith" else text.parts[0]
    if isinstance(end, str):
        if getattr(end, name)(word):
            return True
        if len(end) >= len(word) or len(text.parts) == 1:
            return False
    elif any(word in known or (known in word and known == word) for known in end.has):
        return True
    elif any(key_role(known) and key_role(word) and key_role(known) != key_role(word) for known in end.has):
        return False
    return None


# ---- containers ---------------------------------------------------------------------------


def _of_list(m: Machine, value: Ref, name: str, args: list[Value]) -> Value:
    held = m.heap.read(value.key, "items")
    if not isinstance(held, Items):
        return UNKNOWN
    match name:
        case "append" | "add" | "appendleft" if args:
            path = m.heap.read(value.key, "<path>")
            if path and isinstance(args[0], Tensor) and args[0].kind == "fresh":
                args = [objects.by_name(m, str(path), args[0], value)]
            m.heap.write(value.key, "items", Items((*held.values, args[0]), held.open))
        case "insert" if len(args) > 1:
            m.heap.write(value.key, "items", Items((args[1], *held.values), True))
        case "extend" | "update" if args:
            more = m.elements(args[0])
            values = tuple(more[0]) if more is not None else (expressions.element_of(m, args[0]),)
            m.heap.write(
                value.key, "items", Items((*held.values, *values), held.open or more is None or more[1])
            )
        case "pop":
            if held.values:
                index = tensors.number(args[0]) if args else Number(Scale.of("")) if held.open else None
                place = (
                    -1
                    if index is None
                    else int(index.scale.constant)
                    if index.scale.constant is not None
                    else None
                )
                if place is not None and not held.open and -len(held.values) <= place < len(held.values):
                    values_ = list(held.values)
                    found = values_.pop(place)
                    m.heap.write(value.key, "items", Items(tuple(values_)))
                    return found
                return join([(v, ()) for v in held.values])
        case "copy":
            return m.new_list(list(held.values), held.open)
        case "clear":
            m.heap.write(value.key, "items", Items())
        case "index" | "count":
            return UNKNOWN
        case "sort" | "reverse" | "remove" | "discard":
            m.heap.write(value.key, "items", Items(held.values, True))
        case _:
            return UNKNOWN
    return NONE


def _of_tuple(m: Machine, value: Tup, name: str, args: list[Value]) -> Value:
    if name == "_asdict":
        return UNKNOWN
    return UNKNOWN


def _of_dict(m: Machine, value: Ref, name: str, args: list[Value], named: dict[str, Value]) -> Value:
    entries = m.heap.read(value.key, "entries")
    if not isinstance(entries, Entries):
        return UNKNOWN
    match name:
        case "get" | "pop" if args:
            default = args[1] if len(args) > 1 else named.get("default", NONE)
            found = expressions.match_entry(entries, args[0])
            if name == "pop":
                expressions.remove_item(m, value, args[0])
            if found is None:
                if entries.open:
                    return expressions.item(m, value, args[0])
                return default
            if isinstance(found, Union) and any(o.value is ABSENT for o in found.options):
                return join([(default if o.value is ABSENT else o.value, o.guards) for o in found.options])
            return default if found is ABSENT else found
        case "setdefault" if args:
            found = expressions.match_entry(entries, args[0])
            if isinstance(found, Ref):
                return found  # what is grouped under names cut out of keys meets in one group
            if (
                found is not None
                and found is not ABSENT
                and any(pair[0] == args[0] for pair in entries.pairs)
            ):
                return expressions.without_absent(found)
            made = args[1] if len(args) > 1 else NONE
            m.heap.write(value.key, "entries", expressions.with_entry(entries, args[0], made))
            return made
        case "update":
            for key, item in named.items():
                entries = expressions.with_entry(entries, Text((key,)), item)
            if (
                args
                and isinstance(args[0], Ref)
                and isinstance(more := m.heap.read(args[0].key, "entries"), Entries)
            ):
                for key_, item in more.pairs:
                    held = expressions.held_as(m, value, key_, item)
                    entries = expressions.with_entry(entries, key_, held)
                entries = Entries(entries.pairs, entries.open or more.open)
            elif args:
                entries = Entries(entries.pairs, True)
            m.heap.write(value.key, "entries", entries)
            return NONE
        case "items" | "values" if len(groups := _groups(m, entries)) > 1:
            return _of_dict(m, _one_group(m, entries, groups), name, args, named)
        case "items":
            return m.new_list(
                [Tup((k, expressions.without_absent(v))) for k, v in entries.pairs], entries.open
            )
        case "values":
            return m.new_list([expressions.without_absent(v) for _, v in entries.pairs], entries.open)
        case "keys":
            return m.new_list([k for k, _ in entries.pairs], entries.open)
        case "copy":
            return m.new_dict(list(entries.pairs), entries.open)
        case "clear":
            m.heap.write(value.key, "entries", Entries())
            return NONE
        case "popitem":
            return Tup(entries.pairs[-1]) if entries.pairs else UNKNOWN
        case "to" | "cuda" | "cpu" | "named_parameters" | "parameters":
            return value
        case _:
            return UNKNOWN


def _groups(m: Machine, entries: Entries) -> list[tuple[Text, Ref]]:
    """Dictionaries under names that were cut out of keys: several cuts make the same name."""
    found = []
    for key, value in entries.pairs:
        held = expressions.without_absent(value)
        if isinstance(key, Text) and key.literal is None and isinstance(held, Ref) and held.kind == "dict":
            found.append((key, held))
    return found


def _one_group(m: Machine, entries: Entries, groups: list[tuple[Text, Ref]]) -> Ref:
    """The dictionary with all its groups as one."""
    joined: list[tuple[Value, Value]] = []
    for _, group in groups:
        held = m.heap.read(group.key, "entries")
        joined += held.pairs if isinstance(held, Entries) else ()
    names = {key for key, _ in groups}
    rest = [pair for pair in entries.pairs if pair[0] not in names]
    return m.new_dict([(groups[0][0], m.new_dict(joined)), *rest], True)


# ---- modules, tensors, places -------------------------------------------------------------


def _of_module(m: Machine, value: Ref, name: str, args: list[Value], named: dict[str, Value]) -> Value:
    match name:
        case "register_buffer" | "register_parameter" | "add_module" | "register_module" | "setattr":
            key = args[0] if args else named.get("name", UNKNOWN)
            item = (
                args[1]
                if len(args) > 1
                else named.get("tensor", named.get("param", named.get("module", NONE)))
            )
            if isinstance(key, Text) and key.literal:
                if isinstance(item, Tensor) and item.kind == "fresh" and item.dims and item.zero:
                    item = item
                objects.store_attribute(m, value, key.literal, item, ast.Pass(lineno=0))
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
            if isinstance(key, Text) and key.literal:
                place = m.place(key.literal)
                found = tensors.tensor(place)
                if found is not None and found.kind in ("A", "B", "magnitude"):
                    return found
                if found is not None and found.kind == "base":
                    return Tensor("base", origin=key.literal)
                return Tensor("fresh", learned=True, origin=key.literal)
            return Tensor("fresh", learned=True)
        case "get" | "items" | "keys" | "values" | "pop" | "setdefault" | "update":
            entries = m.heap.read(value.key, "entries")
            if isinstance(entries, Entries):
                return _of_dict(m, value, name, args, named)
            return UNKNOWN
        case _:
            return UNKNOWN


def _of_tensor(
    m: Machine, value: Tensor, name: str, args: list[Value], named: dict[str, Value], node: ast.Call | None
) -> Value:
    if name in ("size",):
        return library.extent(m, value, args[0]) if args else Method(value, "shape")
    if name in ("dim", "numel", "ndimension", "element_size", "nelement", "data_ptr", "is_contiguous"):
        return Number(Scale.of("", f"{name} of a tensor"))
    if name in ("norm",):
        return library.norm_of(m, value, node)
    if name in ("forward", "__call__", "apply"):
        return library.apply_module(m, value, args, node)
    if name in ("sum", "mean", "max", "min", "abs", "std", "var", "amax"):
        return (
            Tensor("norm")
            if value.kind in ("adapted", "base", "norm", "magnitude")
            else value
            if name == "sum" and value.kind == "delta"
            else Tensor("data", origin=value.origin)
        )
    if name in ("index_add_", "index_add", "scatter_add_", "scatter_add", "index_copy_") and len(args) >= 3:
        by = named.get("alpha")
        delta = args[2] if by is None else each(args[2], lambda v: tensors.multiply(v, by))
        made = expressions.combine_sum(m, node or ast.Pass(lineno=0), value, delta, 1)
        _write_back(m, node, made)
        return made
    made_ = library.operation(m, name, [value, *args], named, node)
    if made_ is None:
        return opaque_method(value)
    if name.endswith("_") and not name.endswith("__"):
        if OPERATIONS.get(name) in ("multiply", "divide") and args:
            if tensors.number(args[0]) is not None and not m.initialising:
                m.folded(node or ast.Pass(lineno=0), made_)
            elif m.initialising:
                return value
        if OPERATIONS.get(name) != "fill":
            _write_back(m, node, made_)
        return made_
    return made_


def opaque_method(value: Tensor) -> Value:
    """A method nobody knows, of a tensor: most likely a conversion."""
    return (
        value
        if value.kind in ("A", "B", "half", "delta", "adapted", "base", "magnitude", "kronecker")
        else Tensor("data", origin=value.origin)
    )


def _write_back(m: Machine, node: ast.Call | None, value: Value) -> None:
    """``x.mul_(s)`` changes ``x``, also where ``x`` is ``self.lora_A.weight.data``."""
    from lorascale_lint.provenance.statements import assign

    if node is None or not isinstance(node.func, ast.Attribute):
        return
    target: ast.expr = node.func.value
    while isinstance(target, ast.Call) and isinstance(target.func, ast.Attribute):
        if OPERATIONS.get(target.func.attr) not in ("keep", "multiply", "divide"):
            return
        target = target.func.value
    while isinstance(target, ast.Attribute) and target.attr in ("data", "weight", "value"):
        held = expressions.evaluate(m, target.value)
        if all(isinstance(o.value, Tensor | Place) for o in options(held)):
            target = target.value
        else:
            break
    if isinstance(target, ast.Name | ast.Attribute | ast.Subscript):
        if isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Slice):
            return
        _restore(m, target, value, assign)


def _restore(m: Machine, target: ast.expr, value: Value, assign: Any) -> None:
    merged = all(isinstance(o.value, Tensor) and o.value.kind in ("adapted", "base") for o in options(value))
    if merged and not isinstance(target, ast.Name):
        return  # a merged weight is still the base weight to whoever looks at the class next
    assign(m, target, value)


def _of_place(
    m: Machine, value: Value, name: str, args: list[Value], keywords: Keywords, node: ast.Call | None
) -> Value:
    named = dict(keywords)
    path = value.path if isinstance(value, Place) else "?"
    found = tensors.tensor(value)
    held = name in ("keys", "items", "values", "get", "pop", "append", "update", "setdefault")
    if found is not None and found.kind in ("A", "B", "magnitude", "kronecker") and not held:
        return _of_tensor(m, found, name, args, named, node)
    stored = m.heap.read(("place", path), name)
    if stored is not None:
        return calls.call(m, stored, args, keywords, node)
    if name in TEXT_METHODS and found is None and isinstance(value, Place):
        return _of_text(m, hole(path), name, args)
    match name:
        case "size":
            return library.extent(m, value, args[0]) if args else Method(value, "shape")
        case "items" | "keys" | "values" | "named_modules" | "named_parameters" | "named_children":
            return Method(value, f"{name}()")
        case "modules" | "children" | "parameters":
            return Place(f"{path}.<module>")
        case "state_dict" | "get_tensors":
            return Place(f"{path}.state_dict()", None, False, made="state dict")
        case "get" | "pop" | "get_tensor" | "__getitem__" | "get_parameter" | "get_submodule" if args:
            made = expressions.item(m, value, args[0])
            default = args[1] if len(args) > 1 else NONE if name in ("get",) else None
            if name in ("get_tensor", "__getitem__", "get_parameter", "get_submodule") or default is None:
                return made
            guard = f"{expressions._shown(args[0])} in {path}"
            return join([(made, ((guard, True),)), (default, ((guard, False),))])
        case "setdefault" if len(args) > 1:
            expressions.store_item(m, value, args[0], args[1], node or ast.Pass(lineno=0))
            return args[1]
        case "update" if args:
            if isinstance(args[0], Ref) and isinstance(more := m.heap.read(args[0].key, "entries"), Entries):
                for key, item in more.pairs:
                    expressions.store_item(m, value, key, item, node or ast.Pass(lineno=0))
            return NONE
        case "register_buffer" | "register_parameter" | "add_module" if len(args) > 1:
            if isinstance(args[0], Text) and args[0].literal:
                objects.store_attribute(m, value, args[0].literal, args[1], node or ast.Pass(lineno=0))
            return NONE
        case "append" | "extend" | "add" if name != "add":
            return NONE
        case "forward" | "__call__" | "_forward" | "call":
            return library.call_place(m, value, args, keywords, node)
        case "dim" | "numel":
            return Number(Scale.of("", f"{name} of a tensor"))
        case "norm":
            return library.norm_of(m, value, node)
        case "sum" | "mean" | "max" | "min":
            return Tensor("data", origin=path)
        case _:
            pass
    by_name = _by_unique_name(m, name, value, args)
    if by_name is not None:
        return calls.call(m, by_name, args, keywords, node)
    if name in OPERATIONS and (found is not None or value_may_be_tensor(value) or OPERATIONS[name] in _SURE):
        subject = found if found is not None else value
        if isinstance(subject, Tensor) and subject.kind == "base":
            return _of_tensor(m, subject, name, args, named, node)
        made_ = library.operation(m, name, [subject, *args], named, node)
        if made_ is not None:
            if (
                name.endswith("_")
                and isinstance(made_, Tensor)
                and made_.kind not in ("adapted", "base", "data")
            ):
                _write_back(m, node, made_)
            return made_
    made = library.call_place(
        m, m.place(name, value if isinstance(value, Place) else None), args, keywords, node
    )
    calls._used(m, node, f"{path}.{name}", None, args, keywords, made)
    return made


_SURE = frozenset("add subtract multiply divide addmm transpose product copy_into keep".split())


def value_may_be_tensor(value: Value) -> bool:
    """Can the value be a tensor, by all that is known?"""
    return isinstance(value, Place) and value.made != "state dict"


def _by_unique_name(m: Machine, name: str, value: Value, args: list[Value]) -> Value | None:
    """A method that only one family of the project's classes has, of an object of unknown type."""
    if len(name) < 6 or name in OPERATIONS or name in _COMMON:
        return None
    owners = [cls for file in m.program.parsed() for cls in file.classes.values() if name in cls.methods]
    if not owners or len(owners) > 6:
        return None
    roots = {m.program.mro(cls)[-1] for cls in owners}
    if len(roots) > 1 and len(owners) > 1:
        return None
    from lorascale_lint.provenance.values import Closure

    cls = owners[0]
    receiver = objects.instance(m, cls)
    return Closure(cls.methods[name], receiver if not cls.methods[name].is_static else None, owner=cls)


_COMMON = frozenset(
    "forward update append remove reset_parameters extra_repr state_dict load_state_dict from_pretrained "
    "save_pretrained __call__ __init__ __getitem__ register_hook backward format endswith startswith replace "
    "removesuffix removeprefix add_argument parse_args write_text read_text".split()
)

__all__ = ["ABSENT", "Const", "Union", "call_method", "hole"]
