"""Functions of Python and of libraries that make or walk containers and objects."""

from __future__ import annotations

import ast
from collections.abc import Callable
from keyword import iskeyword

from lorascale_lint.ledger.entries import Store
from lorascale_lint.linking.definitions import ClassInfo
from lorascale_lint.provenance import keys, lookups, meanings
from lorascale_lint.provenance.container_methods import may_be_more
from lorascale_lint.provenance.containers import item_at
from lorascale_lint.provenance.heap import ABSENT, Entries, Items
from lorascale_lint.provenance.lookups import as_text, read_all, read_part, shown, took_all, wrote
from lorascale_lint.provenance.machine import Machine
from lorascale_lint.provenance.marks import REST
from lorascale_lint.provenance.modules import apply_base
from lorascale_lint.provenance.names import attribute
from lorascale_lint.provenance.numbers import asked, counted
from lorascale_lint.provenance.objects import new_object, store_attribute
from lorascale_lint.provenance.regexes import REGEX_FUNCTIONS, of_module
from lorascale_lint.provenance.scale import Scale
from lorascale_lint.provenance.sequences import (
    call_enumerate,
    call_filter,
    call_list,
    call_map,
    call_next,
    call_range,
    call_reversed,
    call_set,
    call_sorted,
    call_tuple,
    call_zip,
    chain,
    extreme,
    quantifier,
    reduce,
    same_value,
    whole,
)
from lorascale_lint.provenance.shapes import extent
from lorascale_lint.provenance.tensors import tensor
from lorascale_lint.provenance.tuples import bounded
from lorascale_lint.provenance.values import (
    NONE,
    UNKNOWN,
    Const,
    Klass,
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

Function = Callable[[Machine, list[Value], dict[str, Value], "ast.Call | None"], Value]


def _len(m: Machine, args: list[Value], named: dict[str, Value], node: ast.Call | None) -> Value:
    held = m.elements(args[0]) if args else None
    if held is not None and not held[1] and not may_be_more(m, args[0]):
        return whole(len(held[0]))
    if args and isinstance(args[0], Text) and args[0].literal is not None:
        return whole(len(args[0].literal))
    if args and (found := tensor(args[0])) is not None and found.kind in ("A", "B"):
        return extent(m, found, whole(0))
    return Number(Scale.of("", counted(args[0] if args else UNKNOWN, held, node)))


def _dict(m: Machine, args: list[Value], named: dict[str, Value], node: ast.Call | None) -> Value:
    pairs: list[tuple[Value, Value]] = []
    open_ = False
    if args:
        if isinstance(args[0], Ref) and isinstance(entries := m.heap.read(args[0].key, "entries"), Entries):
            pairs, open_ = list(entries.pairs), entries.open
        elif isinstance(args[0], Place):
            read_all(m, node, args[0])
            return args[0]
        else:
            held = m.elements(args[0])
            for pair in held[0] if held is not None else []:
                pairs.append((item_at(m, pair, 0), item_at(m, pair, 1)))
            open_ = held is None or held[1]
    pairs += [(Text((name,)), value) for name, value in named.items() if name != REST]
    made = m.new_dict(pairs, open_ or REST in named)
    for source in (*args[:1], *([named[REST]] if REST in named else [])):
        took_all(m, node, made, source)
    places = {} if node is None else {keyword.arg: keyword.value for keyword in node.keywords}
    for name, value in named.items():
        if name in places:
            wrote(m, places[name], made, Text((name,)), value)
    return made


def _defaultdict(m: Machine, args: list[Value], named: dict[str, Value], node: ast.Call | None) -> Value:
    made = m.new_dict([], False)
    if args:
        m.heap.write(made.key, "<factory>", args[0])
    return made


def _module_dict(m: Machine, args: list[Value], named: dict[str, Value], node: ast.Call | None) -> Value:
    return _dict(m, args, named, node) if args else m.new_dict([])


def _isinstance(m: Machine, args: list[Value], named: dict[str, Value], node: ast.Call | None) -> Value:
    if len(args) != 2:
        return UNKNOWN
    value, kinds = args
    if node is not None:
        asked(m, node, "isinstance", value, kinds)
    wanted = list(kinds.items) if isinstance(kinds, Tup) else [kinds]
    if isinstance(value, Ref) and value.kind == "object" and value.cls is not None:
        order = m.program.mro(value.cls)
        classes = [item for item in wanted if isinstance(item, Klass)]
        if any(item.info in order for item in classes):
            return Const(True)
        if classes and len(classes) == len(wanted):
            return Const(False) if not m.program.library_bases(value.cls) else UNKNOWN
        return UNKNOWN
    names = {getattr(item, "name", "").rpartition(".")[2] for item in wanted}
    plain = {
        "str": Text,
        "int": Number,
        "float": Number,
        "dict": Ref,
        "list": Ref,
        "tuple": Tup,
        "Tensor": Tensor,
    }
    if names <= set(plain):
        if isinstance(value, Number | Text | Tup) or (isinstance(value, Const) and value.value is None):
            return Const(any(isinstance(value, plain[name]) for name in names))
        if isinstance(value, Ref):
            return Const(value.kind in names)
        if isinstance(value, Tensor) and not value.module and "Tensor" not in names:
            return Const(False)
    return UNKNOWN


def _getattr(m: Machine, args: list[Value], named: dict[str, Value], node: ast.Call | None) -> Value:
    if len(args) < 2:
        return UNKNOWN
    owner, name = args[0], args[1]
    if isinstance(name, Text) and name.literal is not None:
        literal = name.literal
        found = each(owner, lambda value: _attribute_path(m, value, literal))
        if node is not None:
            read_part(m, node, owner, literal, found)
        if (
            len(args) > 2
            and isinstance(found, Place)
            and found.role is None
            and not isinstance(args[2], Const)
        ):
            return join([(found, ((f"has {literal}", True),)), (args[2], ((f"has {literal}", False),))])
        return found
    if isinstance(name, Text):
        role = keys.role_in(name)
        if role is not None:
            return Place(f"{_path(owner)}.{shown(name)}", role)
        stored = m.heap.read(owner.key, name) if isinstance(owner, Ref) else None
        if stored is not None:
            return stored  # type: ignore[no-any-return]
    return Place(f"{_path(owner)}.{shown(name)}")


def _attribute_path(m: Machine, value: Value, name: str) -> Value:
    for part in name.split("."):
        value = attribute(m, value, part)
    return value


def _path(value: Value) -> str:
    return value.path if isinstance(value, Place) else "object"


def _setattr(m: Machine, args: list[Value], named: dict[str, Value], node: ast.Call | None) -> Value:
    if len(args) != 3:
        return NONE
    owner, name, value = args
    if isinstance(name, Text) and name.literal is not None:
        store_attribute(m, owner, name.literal, value, node or ast.Pass(lineno=0))
        return NONE
    if isinstance(name, Text) and isinstance(owner, Ref):
        m.heap.write(owner.key, name, value)
    if m.recording and node is not None:
        m.ledger.stores.append(Store(m.spot(node), owner, "", value, None, m.frame.guards))
    return NONE


def _hasattr(m: Machine, args: list[Value], named: dict[str, Value], node: ast.Call | None) -> Value:
    if len(args) == 2 and isinstance(args[0], Ref) and args[0].kind == "object" and isinstance(args[1], Text):
        if args[1].literal and m.heap.read(args[0].key, args[1].literal) is not None:
            stored = m.heap.read(args[0].key, args[1].literal)
            return UNKNOWN if stored is ABSENT or isinstance(stored, Union) else Const(True)
        if args[0].cls is not None and args[1].literal and m.program.method(args[0].cls, args[1].literal):
            return Const(True)
    return UNKNOWN


def _partial(m: Machine, args: list[Value], named: dict[str, Value], node: ast.Call | None) -> Value:
    if not args:
        return UNKNOWN
    callee, *values = bounded([*args, *named.values()])
    given = dict(zip(named, values[len(args) - 1 :], strict=True))
    return Partial(callee, tuple(values[: len(args) - 1]), tuple(given.items()))


def _string(m: Machine, args: list[Value], named: dict[str, Value], node: ast.Call | None) -> Value:
    return as_text(m, args[0]) if args else Text(())


def _namespace(m: Machine, args: list[Value], named: dict[str, Value], node: ast.Call | None) -> Value:
    made = new_object(m, None, "namespace")
    for name, value in named.items():
        m.heap.write(made.key, name, meanings.named(m, value, name))
    return made


def _replace(m: Machine, args: list[Value], named: dict[str, Value], node: ast.Call | None) -> Value:
    if not args or not isinstance(args[0], Ref) or args[0].kind != "object":
        return args[0] if args else UNKNOWN
    made = new_object(m, args[0].cls, "object")
    for slot, value in m.heap.of(args[0].key):
        m.heap.write(made.key, slot, value)
    for name, value in named.items():
        m.heap.write(made.key, name, value)
    return made


def _is_name(text: str) -> bool:
    return text.isidentifier() and not iskeyword(text)


def _namedtuple(m: Machine, args: list[Value], named: dict[str, Value], node: ast.Call | None) -> Value:
    if len(args) < 2:
        return UNKNOWN
    if isinstance(args[1], Text) and args[1].literal:
        names = args[1].literal.replace(",", " ").split()
    else:
        held = m.elements(args[1])
        names = [
            item.literal for item in (held[0] if held else []) if isinstance(item, Text) and item.literal
        ]
    # With rename=True, which others need to be made at all, they are told by their number.
    names = [name if _is_name(name) else f"_{number}" for number, name in enumerate(names)]
    body = "\n".join(f"    {name}: object" for name in names) or "    pass"
    title = args[0].literal if isinstance(args[0], Text) and args[0].literal else "Record"
    if not _is_name(title):
        return UNKNOWN
    tree = ast.parse(f"class {title}:\n{body}")
    return Klass(ClassInfo(m.frame.file, tree.body[0], title))  # type: ignore[arg-type]


def _state_dict(m: Machine, args: list[Value], named: dict[str, Value], node: ast.Call | None) -> Value:
    given = m.file_comes_in(node)
    if given is not None:
        return given
    shown = lookups.shown(args[0]) if args else "file"
    return Place(f"file({shown})", None, False, made="state dict")


def _sequential(m: Machine, args: list[Value], named: dict[str, Value], node: ast.Call | None) -> Value:
    def run(x: Value) -> Value:
        for layer in args:
            x = m.call(layer, [x], [], node)
        return x

    made = new_object(m, None, "sequential")
    m.heap.write(made.key, "items", Items(tuple(args)))
    del run
    return Ref(made.key, "list")


def _type(m: Machine, args: list[Value], named: dict[str, Value], node: ast.Call | None) -> Value:
    if len(args) == 1 and isinstance(args[0], Ref) and args[0].cls is not None:
        return Klass(args[0].cls)
    return Place("type()")


def _vars(m: Machine, args: list[Value], named: dict[str, Value], node: ast.Call | None) -> Value:
    """``vars(object)``, ``asdict(object)``: its fields as a dictionary."""
    if args and isinstance(args[0], Ref) and args[0].kind == "object":
        pairs = [
            (Text((slot,)), value)
            for slot, value in m.heap.of(args[0].key)
            if isinstance(slot, str) and not slot.startswith("<") and isinstance(value, Value)
        ]
        return m.new_dict(list(pairs), False)
    return args[0] if args and isinstance(args[0], Place) else UNKNOWN


def _where(m: Machine, args: list[Value], named: dict[str, Value], node: ast.Call | None) -> Value:
    if len(args) == 3:
        return join([(args[1], ()), (args[2], ())]) if args[1] != args[2] else args[1]
    return UNKNOWN


def _eval(m: Machine, args: list[Value], named: dict[str, Value], node: ast.Call | None) -> Value:
    """``eval(f"self.{name}")`` of a text that is known."""
    if args and isinstance(args[0], Text) and args[0].literal is not None:
        try:
            parsed = ast.parse(args[0].literal.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return UNKNOWN
        return m.evaluate(parsed)
    return UNKNOWN


def _forward(m: Machine, args: list[Value], named: dict[str, Value], node: ast.Call | None) -> Value:
    """``nn.Linear.forward(self, x)``."""
    return apply_base(m, UNKNOWN, args)


FUNCTIONS: dict[str, Function] = {
    "builtins.zip": call_zip,
    "*.zip_longest": call_zip,
    "builtins.enumerate": call_enumerate,
    "builtins.range": call_range,
    "builtins.len": _len,
    "builtins.list": call_list,
    "builtins.set": call_set,
    "builtins.frozenset": call_set,
    "builtins.sorted": call_sorted,
    "builtins.any": quantifier(True),
    "builtins.all": quantifier(False),
    "builtins.iter": same_value,
    "builtins.<same>": same_value,
    "*.update_wrapper": same_value,
    "*.tqdm": same_value,
    "*.trange": call_range,
    "builtins.reversed": call_reversed,
    "builtins.tuple": call_tuple,
    "builtins.dict": _dict,
    "*.OrderedDict": _dict,
    "*.defaultdict": _defaultdict,
    "*.ModuleDict": _module_dict,
    "*.ParameterDict": _module_dict,
    "*.BufferDict": _module_dict,
    "*.ModuleList": call_list,
    "*.ParameterList": call_list,
    "*.Sequential": _sequential,
    "builtins.isinstance": _isinstance,
    "builtins.getattr": _getattr,
    "builtins.setattr": _setattr,
    "builtins.hasattr": _hasattr,
    "*.partial": _partial,
    "*.partialmethod": _partial,
    "*.MethodType": _partial,
    "builtins.map": call_map,
    "builtins.filter": call_filter,
    "*.tree_map": call_map,
    "*.starmap": call_map,
    "*.reduce": reduce,
    "builtins.next": call_next,
    "builtins.max": extreme,
    "builtins.min": extreme,
    "builtins.str": _string,
    "*.chain": chain,
    "*.SimpleNamespace": _namespace,
    "*.Namespace": _namespace,
    "dataclasses.replace": _replace,
    "copy.copy": _replace,
    "copy.deepcopy": _replace,
    "*.namedtuple": _namedtuple,
    "*.load_file": _state_dict,
    "*.safe_open": _state_dict,
    "torch.load": _state_dict,
    "numpy.load": _state_dict,
    "*.load_torch_file": _state_dict,
    "mlx.core.load": _state_dict,
    "*.load_safetensors": _state_dict,
    "builtins.type": _type,
    "builtins.vars": _vars,
    "*.asdict": _vars,
    "regex.sub": of_module("sub"),
    **{f"re.{name}": of_module(name) for name in REGEX_FUNCTIONS},
    "torch.where": _where,
    "*.where": _where,
    "builtins.eval": _eval,
    "*.forward": _forward,
    "builtins.id": lambda m, a, k, n: UNKNOWN,
    "builtins.print": lambda m, a, k, n: NONE,
    "builtins.bool": lambda m, a, k, n: UNKNOWN if not a or m.truth(a[0]) is None else Const(m.truth(a[0])),
}
