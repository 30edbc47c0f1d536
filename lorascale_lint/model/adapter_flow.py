"""How the tensors of an adapter file move inside one function: lookups, key tests, local dictionaries."""

from __future__ import annotations

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
    Sequence,
    Term,
    children,
    walk,
)
from lorascale_lint.model.key_pattern import key_pattern
from lorascale_lint.model.project import Function, Project
from lorascale_lint.model.vocabulary import is_alpha_key

_CONVERSIONS = frozenset(
    "to float half bfloat16 double cuda cpu type contiguous detach clone data T t transpose permute "
    "squeeze unsqueeze flatten view reshape item astype numpy mT swapaxes to_dense full_tensor type_as "
    "requires_grad_ squeeze_ copy".split()
)
"""What leaves the numbers of a tensor as they are."""
_WRAPPERS = frozenset("tensor as_tensor asarray array from_numpy Parameter ascontiguousarray".split())
_LIBRARIES = frozenset("torch np numpy jnp jax mx mlx nn tf".split())
_LOOKUPS = frozenset(["get", "pop", "get_tensor"])
_STEP_LIMIT = 200
"""Steps from a sum to a product; ways through nested branches double with each of them."""
_EMPTY_CONTAINERS = frozenset(["dict", "defaultdict", "OrderedDict"])


def unconverted(term: Term) -> Term:
    """``term`` without the dtype, device and shape conversions around it."""
    while True:
        match term:
            case Call(func=Attr(base=Global(name=library), name=name), args=(inner, *_)) if (
                library in _LIBRARIES and name in _CONVERSIONS | _WRAPPERS
            ):
                term = inner
            case Call(func=Attr(base=base, name=name)) if name in _CONVERSIONS:
                term = base
            case Call(func=Attr(name="tensor" | "as_tensor" | "Parameter"), args=(inner, *_)):
                term = inner
            case Attr(base=base, name=name) if name in _CONVERSIONS:
                term = base
            case _:
                return term


def lookup(term: Term) -> tuple[Term, Term] | None:
    """Container and key if ``term`` is ``container[key]``, ``.get(key)`` or ``.pop(key)``."""
    match unconverted(term):
        case Item(base=base, key=key):
            return base, key
        case Call(func=Attr(base=base, name=name), args=(key, *_)) if name in _LOOKUPS:
            return base, key
        case _:
            return None


def asks_for_alpha(test: Term, holds: bool = True) -> bool:
    """Does ``test``, known to hold or not, say that a key is an alpha's?"""
    match test:
        case Not(operand=operand):
            return asks_for_alpha(operand, not holds)
        case Op(sign=("in" | "=="), left=left, right=right):
            return holds and (_is_alpha_literal(left) or _is_alpha_literal(right))
        case Op(sign=("not in" | "!="), left=left, right=right):
            return not holds and (_is_alpha_literal(left) or _is_alpha_literal(right))
        case Call(func=Attr(name="endswith"), args=(suffix, *_)):
            return holds and any(map(_is_alpha_literal, getattr(suffix, "items", (suffix,))))
        case Call(func=Global(name="any"), args=(Sequence(items=(inner,), repeated=True),)):
            return holds and asks_for_alpha(inner)
        case Logic(sign="and", left=left, right=right):
            return holds and (asks_for_alpha(left) or asks_for_alpha(right))
        case Logic(sign="or", left=left, right=right):
            return asks_for_alpha(left, holds) or asks_for_alpha(right, holds)
        case _:
            return False


def _is_alpha_literal(term: Term) -> bool:
    """Is ``term`` the text of an alpha key, or does it go through a list that has one?"""
    if isinstance(term, Element) and isinstance(term.source, Sequence):
        return any(map(_is_alpha_literal, term.source.items))
    return isinstance(term, Const) and isinstance(term.value, str) and is_alpha_key(term.value)


def alpha_guard(guards: tuple[Guard, ...]) -> Guard | None:
    """The guard under which a key is known to be an alpha's."""
    return next((guard for guard in guards if asks_for_alpha(guard.test, guard.holds)), None)


def tensor_of_loop(term: Term) -> Term | None:
    """``tensors`` if ``term`` is the value in ``for key, value in tensors.items()``."""
    match unconverted(term):
        case Item(base=Element(source=source), key=Const(value=1)):
            while isinstance(source, Call) and isinstance(source.func, Global) and source.args:
                source = source.args[0]  # `list(...)`, `tqdm(...)`, `sorted(...)`
            if isinstance(source, Call) and isinstance(source.func, Attr) and source.func.name == "items":
                return source.func.base
    return None


def is_file_alpha(term: Term, guards: tuple[Guard, ...]) -> bool:
    """Is ``term`` the alpha of some module: looked up by its key, or met in a loop over the file?"""
    found = lookup(term)
    if found is not None and is_alpha_key(key_pattern(found[1])):
        return True
    if alpha_guard(guards) is None:
        return False
    return tensor_of_loop(term) is not None or (found is not None and isinstance(found[1], Element | Item))


def picked_first(root: Term) -> Sequence | None:
    """The comprehension over alpha keys of which ``next(...)`` or ``[...][0]`` takes the first."""
    for term in walk(root):
        match term:
            case (
                Call(func=Global(name="next"), args=(Sequence(repeated=True) as found, *_))
                | Item(base=Sequence(repeated=True) as found, key=Const(value=0))
            ) if alpha_guard(found.guards) is not None:
                return found
            case _:
                pass
    return None


@dataclass(frozen=True, slots=True, eq=False)
class LocalDictionary:
    """A dictionary that a function makes empty, with its name and what is written into it."""

    name: str
    made: Event
    writes: tuple[Event, ...]


def local_dictionaries(function: Function) -> Iterator[LocalDictionary]:
    """Dictionaries that start empty in ``function``, in source order."""
    for made in function.events("bind"):
        if _is_empty(made.value):
            writes = tuple(
                event
                for event in function.events("write")
                if isinstance(event.target, Item) and same_place(event.target.base, made.value)
            )
            yield LocalDictionary(made.name, made, writes)


def _is_empty(term: Term) -> bool:
    match term:
        case Mapping(pairs=()):
            return True
        case Call(func=Global(name=name)):
            return name in _EMPTY_CONTAINERS
        case _:
            return False


def same_place(left: Term, right: Term) -> bool:
    """Were both terms written at one place? Joins and other functions copy terms, places stay."""
    return type(left) is type(right) and left.loc == right.loc


def is_read(project: Project, function: Function, made: Event) -> bool:
    """Is what ``made`` binds used in ``function`` or inside it, other than written to or asked for keys?"""
    prefix = function.facts.qualname + "."
    for other in project.functions.values():
        nested = other.filename == function.filename and other.facts.qualname.startswith(prefix)
        if other is not function and not nested:
            continue
        for event in other.facts.events:
            if event is made:
                continue
            roots = [event.value, *(() if event.target is None else (event.target,))]
            target = event.target
            if event.kind == "write" and isinstance(target, Item) and same_place(target.base, made.value):
                roots = [event.value, target.key]
            if any(_uses(root, made.value) for root in roots):
                return True
    return False


def _uses(root: Term, wanted: Term) -> bool:
    pending, seen = [root], set[int]()
    while pending:
        term = pending.pop()
        if id(term) in seen:
            continue
        seen.add(id(term))
        if same_place(term, wanted):
            return True
        if isinstance(term, Op) and term.sign in ("in", "not in"):
            pending.append(term.left)
            if not same_place(term.right, wanted):
                pending.append(term.right)
        else:
            pending.extend(children(term))
    return False


def matrix_products(root: Term) -> Iterator[tuple[Term, Term, Term]]:
    """Matrix products below ``root``, each with its operands."""
    for term in walk(root):
        match term:
            case Op(sign="@", left=left, right=right):
                yield term, left, right
            case Call(func=Attr(name="mm" | "matmul" | "bmm" | "conv2d"), args=(left, right, *_)):
                yield term, left, right
            case Call(func=Attr(base=left, name="mm" | "matmul" | "bmm"), args=(right,)):
                yield term, left, right
            case _:
                pass


def options(term: Term) -> Iterator[Term]:
    """What ``term`` may be, by the branches that it was joined from."""
    pending, seen = [term], set[int]()
    while pending:
        current = unconverted(pending.pop())
        if id(current) in seen:
            continue  # branches share what they do not change
        seen.add(id(current))
        if isinstance(current, Choice):
            pending.extend((current.other, current.then))
        else:
            yield current


def multipliers(term: Term, product: Term) -> tuple[Term, ...] | None:
    """What ``product`` is multiplied by on its way up to ``term``; None if more happens than that."""
    pending: list[tuple[Term, tuple[Term, ...]]] = [(term, ())]
    found: dict[Loc, Term] = {}
    reached = False
    for _ in range(_STEP_LIMIT):
        if not pending:
            return tuple(found.values()) if reached else None
        current, factors = pending.pop()
        current = unconverted(current)
        if current is product:
            reached = True
            found.update((factor.loc, factor) for factor in factors)
            continue
        match current:
            case Choice(then=then, other=other):
                pending.extend(
                    (branch, factors) for branch in (then, other) if any(t is product for t in walk(branch))
                )
            case Op(sign="*", left=left, right=right):
                inside = any(t is product for t in walk(left))
                pending.append((left, (*factors, right)) if inside else (right, (*factors, left)))
            case _:
                return None
    return None


def sequence_of(term: Term) -> tuple[Term, ...]:
    """The items of a list or tuple display; the one item of a comprehension."""
    return term.items if isinstance(term, Sequence) else ()
