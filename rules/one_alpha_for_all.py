"""LS307: the alpha of the first module that has one is used for every module of the file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lorascale_lint.facts.terms import (
    Attr,
    Call,
    Const,
    Element,
    Event,
    Global,
    Item,
    Loc,
    Op,
    Param,
    Sequence,
    Term,
    source_text,
    walk,
)
from lorascale_lint.findings import Finding
from lorascale_lint.model import Model
from lorascale_lint.model.adapter_flow import (
    alpha_guard,
    is_file_alpha,
    lookup,
    picked_first,
    same_place,
    tensor_of_loop,
)
from lorascale_lint.model.adapter_keys import key_traffic
from lorascale_lint.model.project import Function, bound_arguments, is_test_file
from lorascale_lint.rule import Rule


@dataclass(frozen=True, slots=True, eq=False)
class _Chosen:
    """An alpha taken from whichever key comes first; ``values`` are the terms that hold it later."""

    function: Function
    loc: Loc
    key: Element
    dictionary: Term
    values: tuple[Term, ...]


class OneAlphaForAll(Rule):
    """Alpha of the first module used for all

    ## What it finds

    A loop over an adapter dictionary that keeps one alpha (or one alpha / rank) of the keys that it
    meets, and a second loop over the tensors that uses this one number for each of them.

    ## Why it is wrong

    Files hold one alpha for each module because modules differ: in rank, in alpha, or in both. All but
    the chosen module get a scale that is not theirs, and tensors that are no factors get one as well.

    ## Effect

    Effective scale alpha / rank of the first module: 8.00x too weak for a module of ratio 1 if the
    first one has alpha=8, rank=64.

    ## Bad

    ```python
    def lora_scale_of(state_dict):
        for name, param in state_dict.items():
            if name.endswith(".alpha"):
                down = name.replace(".alpha", ".lora_down.weight")
                return param.item() / state_dict[down].shape[0]
        return 1


    def convert(state_dict):
        scale = lora_scale_of(state_dict)
        converted = {}
        for name, param in state_dict.items():
            converted["transformer." + name] = param * scale
        return converted
    ```

    ## Good

    ```python
    def lora_scale_of(state_dict, module):
        rank = state_dict[module + ".lora_down.weight"].shape[0]
        return float(state_dict.get(module + ".alpha", rank)) / rank


    def convert(state_dict):
        converted = {}
        for name, param in state_dict.items():
            if name.endswith(".alpha"):
                continue
            if name.endswith(".lora_down.weight"):
                param = param * lora_scale_of(state_dict, name.removesuffix(".lora_down.weight"))
            converted["transformer." + name] = param
        return converted
    ```

    ## Fix safety

    No fix: the lookup has to move into the second loop, with the key of each module. Scale one of
    the two factors, and leave biases and full-rank differences alone.

    ## Limits

    Silent if the function also looks alphas up by module, or compares the alphas that it meets with
    the chosen one, and if the number is only printed, stored or passed on alone.

    ## References

    - kohya-ss/sd-scripts commit 193674e1: `resize_lora_model` reads alpha and dim of each module
    - diffusers pull request 14409: one global alpha for layers of different rank
    """

    code = "LS307"
    name = "one-alpha-for-all"

    def check(self, model: Model) -> Iterator[Finding]:
        """Alphas chosen in one loop and used on the tensors of another."""
        first_alphas = _first_alphas(model)
        for function in model.functions:
            if is_test_file(function.filename):
                continue
            for chosen in _chosen(model, function, first_alphas):
                used = _used(function, chosen)
                if used is None or _compared(function, chosen) or _looks_up_by_module(function):
                    continue
                event, tensor = used
                yield self.finding(
                    model,
                    chosen.function.filename,
                    chosen.loc,
                    f"one alpha is taken from the file and used for every tensor in `{function.facts.name}`",
                    event=event if chosen.function is function else None,
                    effect="effective scale alpha / rank of one module instead of each module's own",
                    trace=(
                        (chosen.function.filename, chosen.key.loc, "this loop meets the keys of all modules"),
                        (chosen.function.filename, chosen.loc, "the alpha of one of them is kept"),
                        (function.filename, tensor, "this loop goes through the tensors"),
                        (function.filename, event.loc, "each is used with the one alpha"),
                    ),
                )


def _looks_up_by_module(function: Function) -> bool:
    """Does the function also read alphas under the key of a module?"""
    return any(
        use.role == "alpha" and use.how == "read" and use.pattern.startswith("*")
        for use in key_traffic(function).uses
    )


def _first_alphas(model: Model) -> dict[Function, tuple[Event, Element]]:
    """Functions that return the alpha of whichever key comes first, or a default."""
    found: dict[Function, tuple[Event, Element]] = {}
    for function in model.project.functions.values():
        if not any("alpha" in word for word in function.facts.words):
            continue
        returns = tuple(function.events("return"))
        for returned in returns:
            key = _loop_key(returned, function)
            others = [other.value for other in returns if other is not returned]
            if key is not None and all(isinstance(other, Const) for other in others):
                found[function] = returned, key
    return found


def _chosen(
    model: Model, function: Function, first_alphas: dict[Function, tuple[Event, Element]]
) -> Iterator[_Chosen]:
    """Alphas that ``function`` keeps from a loop, or gets from a function that returns the first."""
    bound: dict[str, list[Event]] = {}
    for event in function.events("bind"):
        bound.setdefault(event.name, []).append(event)
    for events in bound.values():
        key = next((key for event in events if (key := _loop_key(event, function)) is not None), None)
        if key is not None:
            kept = next(event for event in events if _loop_key(event, function) is key)
            values = tuple(event.value for event in events)
            yield _Chosen(function, kept.loc, key, _dictionary(key), values)
    for event in function.events("bind") if first_alphas else ():
        if not isinstance(event.value, Call):
            continue
        for callee in model.project.callees(event.value.func, function, None):
            if isinstance(callee, Function) and callee in first_alphas:
                returned, key = first_alphas[callee]
                source = _dictionary(key)
                given = bound_arguments(event.value, callee)
                if isinstance(source, Param) and source.name in given:
                    source = given[source.name]
                yield _Chosen(callee, returned.loc, key, source, (event.value,))


def _loop_key(event: Event, function: Function) -> Element | None:
    """The loop variable if the event keeps the alpha of whichever key of a dictionary the loop meets."""
    picked = picked_first(event.value)
    if picked is not None:
        tested = any(_counts(other, picked) for other in function.events("test"))
        return None if tested or _is_container(event.value) else _variable(picked)
    guard = alpha_guard(event.guards)
    if guard is None or not any(is_file_alpha(term, event.guards) for term in walk(event.value)):
        return None
    elements = [term for term in walk(guard.test) if isinstance(term, Element)]
    if len({element.loc for element in elements}) != 1:
        return None
    if any(_selects_module(guard.test, function) for guard in event.guards):
        return None
    if _is_container(event.value):
        return None
    return elements[0]


def _variable(alphas: Sequence) -> Element | None:
    """The loop variable of a comprehension."""
    return next((term for term in walk(alphas.items[0]) if isinstance(term, Element)), None)


def _counts(event: Event, alphas: Sequence) -> bool:
    """Does a condition look at all of the alphas, such as ``len(set(alphas)) > 1``?"""
    return any(same_place(term, alphas) for term in walk(event.value))


def _selects_module(test: Term, function: Function) -> bool:
    """Does a condition ask for a certain module: does it name a parameter other than the dictionary?"""
    keys: list[Term] = [term for term in walk(test) if isinstance(term, Element)]
    dictionaries = {id(term) for key in keys for term in walk(key)}
    return any(isinstance(term, Param) and id(term) not in dictionaries for term in walk(test))


def _is_container(term: Term) -> bool:
    return not (
        isinstance(term, Item | Op)
        or (isinstance(term, Call) and isinstance(term.func, Attr | Global) and term.func.name in _NUMBERS)
    )


_NUMBERS = frozenset("item float int sqrt get pop to cpu".split())


def _used(function: Function, chosen: _Chosen) -> tuple[Event, Loc] | None:
    """Where the chosen number meets the tensors of another loop, and that loop's variable."""
    for event in function.facts.events:
        operands: list[tuple[Term, ...]] = []
        if event.kind == "write" and event.sign in ("*", "/") and event.target is not None:
            operands.append((event.target, event.value))
        for term in walk(event.value):
            if isinstance(term, Op) and term.sign in ("*", "/"):
                operands.append((term.left, term.right))
            elif isinstance(term, Call) and len(term.args) > 1:
                operands.append(term.args)
        for group in operands:
            tensors = [found for part in group for found in _loop_tensors(part, chosen)]
            numbers = [
                part for part in group if _holds(part, chosen) and not list(_loop_tensors(part, chosen))
            ]
            if tensors and numbers:
                return event, tensors[0]
    return None


def _holds(term: Term, chosen: _Chosen) -> bool:
    return any(same_place(part, value) for part in walk(term) for value in chosen.values)


def _loop_tensors(term: Term, chosen: _Chosen) -> Iterator[Loc]:
    """Loop variables of other loops whose tensors are in ``term``."""
    for part in walk(term):
        keys: list[Term] = []
        if tensor_of_loop(part) is not None and isinstance(part, Item):
            keys.append(part.base)
        found = lookup(part)
        if found is not None and not any(isinstance(key, Sequence) for key in walk(found[1])):
            keys.extend(walk(found[1]))
        for key in keys:
            if isinstance(key, Element) and key.loc != chosen.key.loc and _same_file(key, chosen):
                yield key.loc


def _same_file(key: Element, chosen: _Chosen) -> bool:
    """Do both loops go through one dictionary, as far as names tell?"""
    return source_text(_dictionary(key)) == source_text(chosen.dictionary)


def _dictionary(key: Element) -> Term:
    source = key.source
    while isinstance(source, Call):
        if isinstance(source.func, Attr) and source.func.name in ("items", "keys", "copy"):
            source = source.func.base
        elif source.args:
            source = source.args[0]  # `list(...)`, `tqdm(...)`, `sorted(...)`
        else:
            break
    return source


def _compared(function: Function, chosen: _Chosen) -> bool:
    """Is the chosen alpha compared with others, so that files with several are refused?"""
    places = {chosen.function, function}
    return any(
        isinstance(term, Op)
        and term.sign in ("!=", "==")
        and any(
            _holds(own, chosen) and any(isinstance(part, Element) for part in walk(other))
            for own, other in ((term.left, term.right), (term.right, term.left))
        )
        for place in places
        for event in place.events("test", "raise")
        for term in walk(event.value)
    )
