"""LS207: a missing alpha defaults to a constant, and is then divided by the rank."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lorascale_lint.codemods.default_to_rank import default_to_rank
from lorascale_lint.facts.terms import (
    Attr,
    Call,
    Choice,
    Const,
    Element,
    Event,
    Global,
    Item,
    Logic,
    Op,
    Param,
    Term,
    each_term,
    walk,
)
from lorascale_lint.findings import Finding
from lorascale_lint.model import Model
from lorascale_lint.model.adapter_flow import (
    alpha_guard,
    is_file_alpha,
    local_dictionaries,
    lookup,
    same_place,
    tensor_of_loop,
)
from lorascale_lint.model.adapter_keys import key_traffic
from lorascale_lint.model.filled_containers import Place
from lorascale_lint.model.key_pattern import key_pattern
from lorascale_lint.model.looked_up import LookUps
from lorascale_lint.model.origins import (
    Origin,
    is_alpha_or_default,
    is_presence_choice,
    is_presence_test,
    literal_number,
    origins,
)
from lorascale_lint.model.project import Function, Project, bound_arguments, is_test_file
from lorascale_lint.model.saved_defaults import saved_defaults
from lorascale_lint.model.scale import ALPHA, RANK
from lorascale_lint.model.values import Factor, Number
from lorascale_lint.model.vocabulary import factor_side, is_alpha_key, key_role, key_side, number_role
from lorascale_lint.rule import Rule

_ALPHA_TABLE = re.compile(
    r"_?(?:(?:network|lora|layer|modules?)_)?alphas|_?modules?_alpha|alpha_(?:dict|map)"
)


class ConstantDefaultAlpha(Rule):
    """Missing alpha defaults to a constant instead of the layer's rank

    ## What it finds

    A lookup of a layer's alpha in an adapter file whose default is a literal number, `sd.get(name +
    ".alpha", 1.0)`, where the result is then divided by the rank. The same for an optional alpha of a
    function that is given the factors, and for a number that is written as the alpha of modules without one.

    ## Why it is wrong

    Files without alpha (PEFT and diffusers spell their keys so) hold factors that apply as they are: alpha
    is the layer's own rank, and the scale 1. A constant makes the scale constant / rank. A later
    `if alpha is None: alpha = rank` looks like the cure and can never run.

    ## Effect

    Effective scale 1 / rank instead of 1 for files without alpha: 128x too weak for rank=128.

    ## Bad

    ```python
    def merge_lora(weight, state_dict, name):
        down = state_dict[name + ".lora_down.weight"]
        up = state_dict[name + ".lora_up.weight"]
        alpha = state_dict.get(name + ".alpha", 1.0)
        scale = alpha / down.shape[0]
        return weight + scale * (up @ down)
    ```

    ## Good

    ```python
    def merge_lora(weight, state_dict, name):
        down = state_dict[name + ".lora_down.weight"]
        up = state_dict[name + ".lora_up.weight"]
        alpha = state_dict.get(name + ".alpha", down.shape[0])
        scale = alpha / down.shape[0]
        return weight + scale * (up @ down)
    ```

    ## Fix safety

    Unsafe: files without alpha change. The default becomes the rank as the function spells it, or `None`
    where a fallback to the rank follows. No fix where the rank is not known before the lookup.

    ## Limits

    Only keys that are computed for a module count: one alpha of a whole file, such as `lora_alpha` of a
    PEFT configuration, has the default of its format. Silent if the division happens only where alpha is
    present, or if the same file writes the missing alphas first.

    ## References

    - aredden/flux-fp8-api, `get_lora_for_key`, repaired in 7a7b2c18
    - larsupb/LoRA-Merger-ComfyUI `convert_to_regular_lora`
    """

    code = "LS207"
    name = "constant-default-alpha"
    fix = "sometimes"

    def check(self, model: Model) -> Iterator[Finding]:
        """Divisions by the rank of what a lookup with a constant default may return."""
        seen: set[int] = set()
        lookups = LookUps(model.project)
        called = (near for function in model.functions for near in model.project.reachable(function, 1))
        for function in dict.fromkeys((*model.functions, *called)):
            if is_test_file(function.filename):
                continue
            yield from self._saved(model, function)
            for event, quotient, dividend in _divisions(model, lookups, function):
                for origin in _origins(model.project, dividend, function):
                    default = _constant_default(origin.term, origin.function, quotient)
                    if default is None and isinstance(origin.term, Choice):
                        default = _left_out(model.project, origin.term, origin.function)
                    if default is None or id(origin.term) in seen:
                        continue
                    if _asks_for_presence(function, event, quotient, origin.term) or _fills_missing(origin):
                        continue
                    seen.add(id(origin.term))
                    yield self._finding(model, function, quotient, origin, default)

    def _saved(self, model: Model, function: Function) -> Iterator[Finding]:
        """Alphas that are written as a number where the module has none."""
        for found in saved_defaults(function):
            yield self.finding(
                model,
                function.filename,
                found.event.loc,
                f"a missing alpha is saved as {found.default.value}, and not as the layer's rank",
                event=found.event,
                effect=f"effective scale {found.default.value} / rank instead of 1 for modules without alpha",
                trace=(
                    (function.filename, found.stored.loc, "the alpha of the module, None if it has none"),
                    (function.filename, found.default.loc, f"becomes {found.default.value}"),
                    (function.filename, found.event.loc, "and is written beside the factors"),
                ),
            )

    def _finding(
        self, model: Model, function: Function, quotient: Op, origin: Origin, default: Const
    ) -> Finding:
        steps = [
            (origin.function.filename, default.loc, f"a file without this key gets alpha {default.value}"),
            *((step.filename, loc, "alpha is handed on") for step, loc in reversed(origin.via)),
            (function.filename, quotient.loc, "and is divided by the rank"),
        ]
        fallback = _dead_fallback(model, function, origin)
        fix = None
        if fallback is not None:
            steps.append((function.filename, fallback.loc, "this fallback to the rank can never run"))
            fix = default_to_rank(model, origin.function.filename, origin.term, default, None)
        elif origin.function is function:
            fix = default_to_rank(model, function.filename, origin.term, default, quotient.right.loc)
        return self.finding(
            model,
            origin.function.filename,
            origin.term.loc,
            f"a missing alpha defaults to {default.value}, and not to the layer's rank",
            effect=f"effective scale {default.value} / rank instead of 1 for a file without alpha",
            trace=steps,
            fix=fix,
        )


def _divisions(model: Model, lookups: LookUps, function: Function) -> Iterator[tuple[Event, Op, Term]]:
    """Quotients by a rank, with each factor of the dividend."""
    for event, term in each_term(function.facts.events):
        if (
            isinstance(term, Op)
            and term.sign == "/"
            and _is_rank(model, lookups, function, term.right, event)
        ):
            for part in _factors(term.left):
                yield event, term, part


def _is_rank(model: Model, lookups: LookUps, function: Function, term: Term, event: Event) -> bool:
    """Is ``term`` a rank: by its name, or as an extent of a factor, also one that was handed here?"""
    values = [a.value for a in model.evaluator.values(term, model.evaluator.frame(function))]
    if any(isinstance(value, Number) and value.scale.power(RANK) > 0 for value in values):
        return True
    match term:
        case (
            Item(base=Attr(base=tensor, name="shape"))
            | Call(func=Attr(base=tensor, name="size"))
            | Item(base=Call(func=Attr(base=tensor, name="size")))
        ):
            if tensor_of_loop(tensor) is not None:
                return any(guard.holds and _asks_for_factor(guard.test) for guard in event.guards)
            if lookups.factor(tensor, Place(function), event.guards) is not None:
                return True
            found = lookup(tensor)
            if found is not None and (
                key_side(key_pattern(found[1])) is not None
                or (
                    isinstance(found[1], Element)
                    and any(g.holds and _asks_for_factor(g.test) for g in event.guards)
                )
            ):
                return True  # scaled or not, it has the rank's extent
            return any(
                isinstance(a.value, Factor)
                for origin in origins(model.project, tensor, function)
                for a in model.evaluator.values(origin.term, model.evaluator.frame(origin.function))
            )
        case Param(name=name) if term.function == function.facts.qualname:
            sites = model.project.call_sites(function)
            given = [(site, bound_arguments(site.call, function).get(name)) for site in sites]
            return any(
                argument is not None
                and not isinstance(argument, Param)
                and _is_rank(model, lookups, site.caller, argument, site.event)
                for site, argument in given
            )
        case _:
            return False


def _asks_for_factor(test: Term) -> bool:
    """Is a key asked for factor A: ``"lora_down" in key``, ``key.endswith(".lora_A.weight")``?"""
    match test:
        case Op(sign="in", left=Const(value=str() as text)):
            return key_side(text) == "A"
        case Call(func=Attr(name="endswith"), args=(Const(value=str() as text), *_)):
            return key_side(text) == "A"
        case Logic(sign="and", left=left, right=right):
            return _asks_for_factor(left) or _asks_for_factor(right)
        case _:
            return False


def _factors(term: Term) -> Iterator[Term]:
    if isinstance(term, Op) and term.sign == "*":
        yield from _factors(term.left)
        yield from _factors(term.right)
    else:
        yield term


def _constant_default(term: Term, function: Function, quotient: Op) -> Const | None:
    """The literal number that a lookup of a module's alpha gives for a missing key."""
    match term:
        case Call(func=Attr(base=table, name="get" | "pop"), args=(Const(value=str() as key), default)) if (
            is_alpha_key(key) and "scale" not in key and _holds_factor(table, quotient.right)
        ):
            return literal_number(default)
        case Call(func=Attr(name="get" | "pop"), args=(key, default)) if _is_module_alpha(key):
            return literal_number(default)
        case Call(func=Attr(base=table, name="get" | "pop"), args=(key, default)) if _is_alpha_table(
            table, function
        ) and not isinstance(key, Const):
            return literal_number(default)
        case Logic(sign="or", left=left, right=right) if is_alpha_or_default(term):
            stored = _looked_up(left)
            return literal_number(right) if stored is not None and _is_module_alpha(stored) else None
        case Choice(then=then, other=other) if is_presence_choice(term):
            for found, otherwise in ((then, other), (other, then)):
                stored = _looked_up(found)
                if stored is not None and _is_module_alpha(stored):
                    return literal_number(otherwise)
    return None


def _origins(project: Project, dividend: Term, function: Function) -> Iterator[Origin]:
    """Where the dividend comes from; a choice by an alpha that the caller leaves out stays as it is."""
    if isinstance(dividend, Choice) and _left_out(project, dividend, function) is not None:
        yield Origin(dividend, function)
    yield from origins(project, dividend, function)


def _left_out(project: Project, choice: Choice, function: Function) -> Const | None:
    """The literal of `alpha if alpha is not None else 1.0` in a function that is given both factors.

    Where the function makes the factors itself, the default is the trainer's own choice.
    """
    match choice.test:
        case Op(sign="is" | "is not", left=Param(name=name), right=Const(value=None)) if (
            number_role(name, True) == ALPHA
        ):
            pass
        case _:
            return None
    sides = {factor_side(parameter.name, True) for parameter in function.facts.parameters}
    sites = project.call_sites(function)
    if not {"A", "B"} <= sides or (sites and all(name in bound_arguments(s.call, function) for s in sites)):
        return None
    branches = (choice.then, choice.other)
    if not any(isinstance(branch, Param) and branch.name == name for branch in branches):
        return None
    return next((found for found in map(literal_number, branches) if found is not None), None)


def _holds_factor(table: Term, rank: Term) -> bool:
    """Is ``rank`` an extent of a factor of ``table``, which then holds the tensors of one module?"""
    return any(
        isinstance(part, Item)
        and isinstance(part.key, Const)
        and key_side(key_pattern(part.key)) is not None
        and same_place(part.base, table)
        for part in walk(rank)
    )


_LOOKUPS = ("get", "pop", "get_tensor")


def _looked_up(term: Term) -> Term | None:
    """The key of ``table[key]`` or ``table.get(key)``, also below conversions."""
    while isinstance(term, Call):
        if isinstance(term.func, Attr) and term.func.name in _LOOKUPS:
            break
        if isinstance(term.func, Attr) and not isinstance(term.func.base, Global):
            term = term.func.base
        elif term.args:
            term = term.args[0]
        else:
            return None
    match term:
        case Item(key=key) | Call(func=Attr(name="get" | "pop" | "get_tensor"), args=(key, *_)):
            return key
        case _:
            return None


def _is_alpha_table(term: Term, function: Function) -> bool:
    """Is ``term`` a table of alphas by module, by its name or as ``function`` gathered it from a file?"""
    if isinstance(term, Attr | Param | Global):
        return _ALPHA_TABLE.fullmatch(term.name) is not None
    return any(
        table.made.value is term
        and bool(table.writes)
        and all(is_file_alpha(_number(write.value), write.guards) for write in table.writes)
        for table in local_dictionaries(function)
    )


def _number(term: Term) -> Term:
    """``value`` of ``float(value)``."""
    match term:
        case Call(func=Global(name="float" | "int"), args=(inner,)):
            return inner
        case _:
            return term


def _is_module_alpha(key: Term) -> bool:
    """Is ``key`` computed for a module, and names its alpha (not alpha / rank)?"""
    pattern = key_pattern(key)
    return not isinstance(key, Const) and key_role(pattern) == "alpha" and "scale" not in pattern


def _asks_for_presence(function: Function, event: Event, quotient: Op, lookup: Term) -> bool:
    """Does the division, or what is made of it, count only where alpha was found, or is not the default?"""
    tests = [guard.test for guard in event.guards]
    for root in (found.value for found in function.facts.events):
        for part in walk(root):
            if isinstance(part, Choice) and part.test is not None and part is not lookup:
                parts = walk(part)
                if quotient in parts or part in walk(quotient.right):
                    tests.append(part.test)
    for part in walk(*tests):
        if is_presence_test(part):
            return True
        if isinstance(part, Op) and part.sign in ("==", "!=", ">", "<", ">=", "<="):
            sides = (part.left, part.right)
            if any(isinstance(side, Const) for side in sides) and any(lookup in walk(s) for s in sides):
                return True
    return False


def _fills_missing(origin: Origin) -> bool:
    """Does the function first write a module's alpha itself, other than the one that a file has?"""
    return any(
        use.how == "write"
        and use.role == "alpha"
        and alpha_guard(use.event.guards) is None
        and use.event.loc.row < origin.term.loc.row
        for use in key_traffic(origin.function).uses
    )


def _dead_fallback(model: Model, function: Function, origin: Origin) -> Op | None:
    """``alpha is None`` about the value of a lookup that never gives None."""
    for event in function.events("test"):
        test = event.value
        if (
            isinstance(test, Op)
            and test.sign == "is"
            and isinstance(test.right, Const)
            and test.right.value is None
            and any(found.term is origin.term for found in origins(model.project, test.left, function))
        ):
            return test
    return None
