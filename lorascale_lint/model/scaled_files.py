"""Scalars that are multiplied onto every entry of an adapter file: both factors, and alpha with them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from lorascale_lint.facts.terms import (
    Attr,
    Call,
    Choice,
    Const,
    Element,
    Event,
    Global,
    Guard,
    Item,
    Loc,
    Logic,
    Mapping,
    Not,
    Op,
    Param,
    Sequence,
    Term,
    children,
    each_term,
    source_text,
    walk,
)
from lorascale_lint.model.adapter_flow import asks_for_alpha
from lorascale_lint.model.factor_ratios import SquaredRatio
from lorascale_lint.model.file_readers import callee_name, reads_tensors
from lorascale_lint.model.model import Model
from lorascale_lint.model.project import Function, bound_arguments, is_test_file
from lorascale_lint.model.values import Number

_STRENGTH = re.compile(
    r"(?i)_?(lora_|adapter_|user_|merge_)?(strength|multiplier)s?(_?(\d|[abi]|model|clip))?"
)
_SCALE = re.compile(r"(?i)_?(lora|adapter)_scales?(_?(\d|[abi]))?")
RATIO = re.compile(
    r"(?i)_?(lora_|adapter_|merge_|user_)?(ratio|weight|coef\w*|alpha|beta|w|wt|mix|scale)s?(_?(\d|[abi]))?"
)
"""Names of numbers, if it is shown that they are one."""
_FILE = re.compile(r"(?i)lora|adapter")
_TENSORS = re.compile(r"(?i)(\w*_)?(state_?dict|sd|checkpoint|ckpt|tensors|weights|params)(_?(\d|[ab]))?")
_NO_FACTORS = re.compile(
    r"(?i)delta|diff|merged|full|base|grad|scale|alphas?\b|config|name|path|dir|block|up|down|lora_?[ab]s?$"
)
_CONVERSIONS = frozenset("to float half bfloat16 clone detach cpu cuda type".split())
_VIEWS = frozenset("items keys copy".split())
_WRAPPERS = frozenset("list sorted tqdm dict set".split())
_NO_DICTIONARIES = frozenset("range enumerate zip filter map reversed".split())
_ASKS_NOTHING = frozenset("isinstance is_tensor torch len get zeros_like set keys is_floating_point".split())
_ONE_SIDE = re.compile(
    r"(?i)(?<![a-z])(up|down|a|b|mid)(?![a-z])|lora_?(up|down|mid|[ab])(?![a-z])|hada|lokr|magnitude"
)
"""Texts and names that one factor's keys may have and the other's not."""
_BOTH_SIDES = re.compile(r"(?i)lora|unet|text|(^|_)te\d?(_|$)|transformer|model|weight|block|attn|layer|proj")
_PREFIX = re.compile(r"(?i)\w*(prefix|name|module|layer|block|target|model|component)\w*")


@dataclass(frozen=True, slots=True, eq=False)
class _Store:
    """``value`` goes under ``key`` of ``target``; both are None if an entry is changed in place."""

    event: Event
    names: dict[int, str]
    target: Term | None
    key: Term | None
    value: Term
    guards: tuple[Guard, ...]

    def name(self, dictionary: Term) -> str:
        """What the function calls a dictionary that it made or read."""
        return self.names.get(id(dictionary), "")


@dataclass(frozen=True, slots=True, eq=False)
class _Entry:
    """``term`` is what a dictionary holds under ``key``, a variable that goes over its keys."""

    term: Term
    file: Term
    key: Term


def scaled_files(model: Model) -> Iterator[SquaredRatio]:
    """One place of each function that does so."""
    for function in model.functions:
        if is_test_file(function.filename):
            continue
        for store in _stores(function):
            found = _scaled(model, function, store)
            if found is not None:
                product, entry, name = found
                yield SquaredRatio(
                    function, store.event, product.loc, name, product.loc, product.loc, None, entry.term.loc
                )
                break


def _stores(function: Function) -> Iterator[_Store]:
    """What is written into dictionaries, one by one, in place or by comprehensions."""
    names = {id(event.value): event.name for event in function.events("bind")}
    for event in function.events("write"):
        if isinstance(event.target, Item) and event.sign in ("", "*", "+"):
            value = Op("*", event.target, event.value, event.loc) if event.sign == "*" else event.value
            yield _Store(event, names, event.target.base, event.target.key, value, event.guards)
    for event, term in each_term(function.facts.events):
        match term:
            case Mapping(pairs=((key, value),)) if any(isinstance(part, Element) for part in walk(key)):
                yield _Store(event, names, term, key, value, (*event.guards, *term.guards))
            case Call(func=Attr(base=base, name="mul_"), args=(scalar, *_)):
                yield _Store(event, names, None, None, Op("*", base, scalar, term.loc), event.guards)
            case _:
                pass


def _scaled(model: Model, function: Function, store: _Store) -> tuple[Op, _Entry, str] | None:
    """A product of an adapter file's entry with a scalar, the whole value or a summand of it."""
    for option in _options(store.value):
        terms = list(summands(option))
        read = [(summand, *_entry_and_scalars(summand, store.key)) for summand in terms]
        if any(is_complement(part) for summand in terms for part in walk(summand)):
            continue  # an average
        files = [source_text(entry.file) for _, entry, _ in read if entry is not None]
        several = len(files) == len(read) > 1 and len(set(files)) == len(files)
        if not _is_of_adapters(store, [entry for _, entry, _ in read if entry is not None]):
            continue
        named = [[_scalar(model, function, part, several=several) for part in found] for *_, found in read]
        if not all(map(all, named)):
            continue
        for (summand, entry, scalars), names in zip(read, named, strict=True):
            if entry is not None and scalars and not _tells_keys_apart(store, entry):
                return Op("*", entry.term, scalars[0], _product_place(summand)), entry, names[0] or ""
    return None


def _product_place(summand: Term) -> Loc:
    """Where the product is written, without what is made of it afterwards."""
    while (
        isinstance(summand, Call) and callee_name(summand) in _CONVERSIONS and isinstance(summand.func, Attr)
    ):
        summand = summand.func.base
    return summand.loc


def _options(value: Term) -> Iterator[Term]:
    """What ``value`` is on each branch."""
    if isinstance(value, Choice):
        yield from _options(value.then)
        yield from _options(value.other)
    else:
        yield value


def summands(value: Term) -> Iterator[Term]:
    match value:
        case Op(sign="+", left=left, right=right):
            yield from summands(left)
            yield from summands(right)
        case Call(func=Attr(base=Global(name="torch"), name="add"), args=(left, right)):
            yield from summands(left)
            yield from _weighed(value, right)
        case Call(func=Attr(base=left, name="add" | "add_"), args=(right,)):
            yield from summands(left)
            yield from _weighed(value, right)
        case _:
            yield value


def _weighed(add: Call, right: Term) -> Iterator[Term]:
    """The second summand of ``add``, with the factor that it is given as ``alpha``."""
    factor = next((term for name, term in add.keywords if name == "alpha"), None)
    if factor is None:
        yield from summands(right)
    else:
        yield Op("*", right, factor, add.loc)


def parts_of_product(term: Term) -> Iterator[Term]:
    """What a product multiplies."""
    match term:
        case Op(sign="*", left=left, right=right):
            yield from parts_of_product(left)
            yield from parts_of_product(right)
        case Call(func=Attr(base=Global(name="torch"), name="mul" | "multiply"), args=(left, right)):
            yield from parts_of_product(left)
            yield from parts_of_product(right)
        case Call(func=Attr(base=left, name="mul" | "mul_" | "multiply"), args=(right,)):
            yield from parts_of_product(left)
            yield from parts_of_product(right)
        case Call(func=Attr(base=base, name=name)) if name in _CONVERSIONS:
            yield from parts_of_product(base)
        case _:
            yield term


def _entry_and_scalars(summand: Term, key: Term | None) -> tuple[_Entry | None, tuple[Term, ...]]:
    """The entry that goes under ``key`` in a product, and what it is multiplied by."""
    parts = list(parts_of_product(summand))
    for part in parts:
        entry = _entry(part)
        if entry is not None and (key is None or _made_of(key, entry.key)):
            return entry, tuple(other for other in parts if other is not part)
    return None, ()


def _made_of(key: Term, own: Term) -> bool:
    """Is ``key`` the key ``own`` of the entry, or a text made of it?"""
    text = source_text(own)
    return any(
        part is own
        or (isinstance(own, Item) and isinstance(part, Item) and _is_row(part, own))
        or (part is key and source_text(part) == text != "...")
        for part in walk(key)
    )


def _is_row(part: Item, own: Item) -> bool:
    """Are both the same place of one row of a loop?"""
    return part.base is own.base and getattr(part.key, "value", 0) == getattr(own.key, "value", 1)


def _entry(term: Term) -> _Entry | None:
    """``lora[key]``, ``lora.get(key, ...)``, or the value that goes with a key in a loop over ``lora``."""
    while True:
        match term:
            case Call(func=Attr(base=base, name=name)) if name in _CONVERSIONS:
                term = base
            case Choice(then=then, other=other):
                return _entry(then) or _entry(other)
            case Item(base=Element(source=source) as row, key=Const(value=1)):
                return _Entry(term, source, Item(row, Const(0), term.loc)) if _is_whole(source) else None
            case (
                Call(func=Attr(base=base, name="get" | "get_tensor"), args=(key, *_))
                | Item(base=base, key=key)
            ):
                return _Entry(term, base, key) if _goes_over_keys(key) else None
            case _:
                return None


def _goes_over_keys(key: Term) -> bool:
    match key:
        case Element(source=source) | Item(base=Element(source=source), key=Const(value=0)):
            return _is_whole(source)
        case _:
            return False


def _is_whole(source: Term) -> bool:
    """Does a loop over ``source`` meet every key of a dictionary, those of both factors?"""
    match source:
        case Call(func=Attr(base=base, name=name)) if name in _VIEWS:
            return _is_whole(base)
        case Call(func=Attr(base=left, name="union"), args=args):
            return all(map(_is_whole, (left, *args)))
        case Call(func=Global(name=name), args=args) if name in _WRAPPERS:
            return bool(args) and _is_whole(args[0])
        case Op(sign="|" | "+" | "?", left=left, right=right):
            return _is_whole(left) and _is_whole(right)
        case Sequence(items=(Element(source=inner),), repeated=True, guards=()):
            return _is_whole(inner)
        case Param(name=name) | Attr(name=name) | Global(name=name):
            return _ONE_SIDE.search(name) is None or _FILE.search(name) is not None
        case Call():
            return callee_name(source) not in _NO_DICTIONARIES
        case Element() | Item():
            return True
        case _:
            return False


# ---- what shows that it is an adapter ------------------------------------------------------


def _is_of_adapters(store: _Store, entries: list[_Entry]) -> bool:
    """Are all that is added up adapters, and not an adapter's entry and a weight of the model?"""
    if store.event.sign == "+":
        made = store.target is not None and store.name(store.target) != ""
        if not made and not (store.target is not None and _is_file(store.target)):
            return False
    own = source_text(store.target) if store.target is not None else ""
    adapters = [entry for entry in entries if _is_adapter(entry, store)]
    return bool(adapters) and all(
        entry in adapters or source_text(entry.file) == own != "..." for entry in entries
    )


def _is_adapter(entry: _Entry, store: _Store) -> bool:
    """Is the dictionary an adapter's: by its name, by what loads it, or by what the code says of its keys?"""
    if _is_file(entry.file):
        return True
    called = [store.name(entry.file), store.name(store.target) if store.target is not None else ""]
    named = any(_FILE.search(name) and not _NO_FACTORS.search(name) for name in called)
    texts = [store.key] if store.key is not None else []
    texts += [guard.test for guard in store.guards]
    told = any(
        isinstance(part, Const) and isinstance(part.value, str) and _FILE.search(part.value) is not None
        for part in walk(*texts)
    )
    return (named or told) and _holds_tensors(entry.file)


def _holds_tensors(term: Term) -> bool:
    """Is ``term`` a dictionary of tensors by its name, or by what reads it?"""
    match _viewed(term):
        case Param(name=name) | Attr(name=name) | Global(name=name):
            return _TENSORS.fullmatch(name) is not None and _NO_FACTORS.search(name) is None
        case Call() as call:
            return reads_tensors(call)
        case _:
            return False


def _viewed(term: Term) -> Term:
    while True:
        match term:
            case Call(func=Attr(base=base, name=name)) if name in _VIEWS:
                term = base
            case Call(func=Global(name=name), args=(inner, *_)) if name in _WRAPPERS:
                term = inner
            case _:
                return term


def _is_file(term: Term) -> bool:
    """Is ``term`` the dictionary of an adapter, by its name or by what loads it?"""
    match _viewed(term):
        case Param(name=name) | Attr(name=name):
            return _FILE.search(name) is not None and _NO_FACTORS.search(name) is None
        case Call(args=(path, *_)) as call if "load" in callee_name(call) or reads_tensors(call):
            return _FILE.search(callee_name(call)) is not None or any(
                isinstance(part, Param | Attr | Const) and _FILE.search(_text(part)) is not None
                for part in walk(path)
            )
        case _:
            return False


def _text(part: Param | Attr | Const) -> str:
    return str(part.value) if isinstance(part, Const) else part.name


# ---- scalars -------------------------------------------------------------------------------


def _scalar(model: Model, function: Function, term: Term, *, several: bool) -> str | None:
    """The name of a number that the square of is not meant: a strength, a trained scale, a user's weight."""
    if any(callee_name(part) in ("sqrt", "rsqrt") for part in walk(term) if isinstance(part, Call)):
        return None
    strength = strength_name(term)
    if strength is not None:
        return strength
    inner = term.args[0] if isinstance(term, Call) and callee_name(term) == "float" and term.args else term
    match inner:
        case Param(name=name) if RATIO.fullmatch(name):
            return name if is_weight(model, function, name, several=several) else None
        case Attr(base=Global() | Param(), name=name) if several and RATIO.fullmatch(name):
            return name
        case _:
            pass
    values = [a.value for a in model.evaluator.values(term, model.evaluator.frame(function))]
    scales = [value.scale for value in values if isinstance(value, Number) and value.scale.known]
    trained = next((scale for scale in scales if scale.is_trained), None)
    plain = all(scale.is_trained or scale.is_unscaled for scale in scales)
    return trained.formula() if trained is not None and plain else None


def is_weight(model: Model, function: Function, name: str, *, several: bool, depth: int = 3) -> bool:
    """Is a parameter a number that the caller chooses, and neither a root nor the rest of another one?"""
    parameter = function.parameter(name)
    if parameter is None or parameter.kind in ("args", "kwargs"):
        return False
    shown = (
        _is_number(parameter.default)
        or re.search(r"\b(float|int)\b", parameter.annotation) is not None
        or (several and not parameter.annotation)
    )
    for site in model.project.call_sites(function):
        given = bound_arguments(site.call, function).get(name)
        if given is None:
            continue
        if any(
            is_complement(part)
            or (isinstance(part, Op) and part.sign in ("**", "/"))
            or (isinstance(part, Call) and callee_name(part) in ("sqrt", "rsqrt", "softmax"))
            for part in walk(given)
        ):
            return False
        shown = shown or _is_number(given)
        if not shown and depth and isinstance(given, Param):
            shown = is_weight(model, site.caller, given.name, several=several, depth=depth - 1)
    return shown


def _is_number(term: Term | None) -> bool:
    return (
        isinstance(term, Const) and isinstance(term.value, int | float) and not isinstance(term.value, bool)
    )


def is_complement(term: Term) -> bool:
    """``1 - ratio``, or an interpolation, which has it inside."""
    return isinstance(term, Op) and term.sign == "-" and _is_number(term.left)


def strength_name(term: Term) -> str | None:
    """The name of a strength as the user gave it."""
    match term:
        case Param(name=name) | Attr(name=name) if _STRENGTH.fullmatch(name) or _SCALE.fullmatch(name):
            return name
        case Attr(base=owner, name="scale") if _is_named_adapter(owner):
            return "scale"
        case Call(func=Global(name="float"), args=(inner,)):
            return strength_name(inner)
        case _:
            return None


def _is_named_adapter(term: Term) -> bool:
    """Is ``term`` one of the adapters that a user names, each with a scale?"""
    match term:
        case Param(name=name) | Attr(name=name):
            return _FILE.search(name) is not None
        case Element(source=source) | Item(base=source):
            return _is_named_adapter(source)
        case _:
            return False


# ---- conditions ----------------------------------------------------------------------------


def _tells_keys_apart(store: _Store, entry: _Entry) -> bool:
    """May a condition hold for the keys of one factor, and not for those of the other?"""
    guards = [(guard.test, guard.holds) for guard in store.guards]
    inside = [store.value, *([store.key] if store.key is not None else [])]
    guards += [
        (part.test, holds)
        for part in walk(*inside)
        if isinstance(part, Choice) and part.test is not None
        for holds in (True, False)
    ]
    return any(_is_about(test, entry) and _tells_apart(test, holds, entry) for test, holds in guards)


def _is_about(test: Term, entry: _Entry) -> bool:
    key = entry.key
    row = key.base if isinstance(key, Item) else key
    return any(part is row or part is entry.term for part in walk(test))


def _tells_apart(test: Term, holds: bool, entry: _Entry) -> bool:
    match test:
        case Not(operand=operand):
            return _tells_apart(operand, not holds, entry)
        case Logic(left=left, right=right):
            return any(_is_about(part, entry) and _tells_apart(part, holds, entry) for part in (left, right))
        case Op(sign="is" | "is not"):
            return False
        case Op(sign="in" | "not in" as sign, left=left, right=right) if not isinstance(left, Const):
            if _is_about(left, entry):  # the key among others
                return not _is_whole(right) if not isinstance(right, Mapping) else False
            return not _names_place(left) or holds != (sign == "in")
        case _:
            pass
    if asks_for_alpha(test, holds):
        return True
    for part in _parts_of_test(test, entry):
        match part:
            case Const(value=str(text)):
                if _ONE_SIDE.search(text) is not None:
                    return True
                excluded = asks_for_alpha(test, not holds) or not holds
                if not excluded and _BOTH_SIDES.search(text) is None:
                    return True
            case Attr(name="shape" | "ndim" | "dim" | "size" | "match" | "search"):
                return True
            case Call(func=Attr(name="startswith" | "endswith"), args=(given, *_)) if not isinstance(
                given, Const
            ):
                return not _names_place(given)
            case Call(args=args) if callee_name(part) not in _ASKS_NOTHING and any(
                _is_about(argument, entry) for argument in args
            ):
                return True
            case _:
                pass
    return False


def _parts_of_test(test: Term, entry: _Entry) -> Iterator[Term]:
    """What a test says of a key or an entry, without what these are themselves."""
    row = entry.key.base if isinstance(entry.key, Item) else entry.key
    pending = [test]
    while pending:
        term = pending.pop()
        yield term
        if term is not row and term is not entry.term:
            pending.extend(children(term))


def _names_place(term: Term) -> bool:
    """Is ``term`` the name of a module, or the beginning of one, by its own name or by what it goes over?"""
    match term:
        case Param(name=name) | Attr(name=name) | Global(name=name):
            return _PREFIX.fullmatch(name) is not None and _ONE_SIDE.search(name) is None
        case Item(base=Element(source=Call() as source)) | Element(source=Call() as source):
            return callee_name(source) in ("items", "keys", "named_modules", "named_parameters")
        case Call(func=Attr(base=base)):
            return _names_place(base)
        case Op(sign="+", left=left):
            return _names_place(left)
        case _:
            return False
