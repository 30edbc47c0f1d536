"""LS209: in a loop over modules the whole table of alphas is replaced by one number."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lorascale_lint.codemods.write_entry import write_entry
from lorascale_lint.facts.terms import (
    Attr,
    Call,
    Choice,
    Const,
    Element,
    Event,
    Global,
    Item,
    Mapping,
    Op,
    Term,
    source_text,
    walk,
)
from lorascale_lint.findings import Finding
from lorascale_lint.model import Model
from lorascale_lint.model.project import Function
from lorascale_lint.model.values import Number
from lorascale_lint.rule import Rule

_ALPHA_NAME = re.compile(r"(?i)(?:.*_)?alphas?(?:_.*)?")
_NUMBERS = frozenset(["size", "shape", "float", "int", "item"])


class AlphaTableOverwritten(Rule):
    """Table of alphas replaced by one number in a loop

    ## What it finds

    A dictionary of alphas by module, and a loop that gives modules without an entry their rank, but binds
    the name of the dictionary to that number: `modules_alpha = rank` for `modules_alpha[name] = rank`.

    ## Why it is wrong

    The first module without an alpha throws away the alphas of all the others; what reads the table
    afterwards gets a number, and either fails or scales every module alike.

    ## Effect

    The trained scale alpha / rank of every module is lost as soon as one module has no alpha.

    ## Bad

    ```python
    def create_lora_network(weights):
        modules_dim = {}
        modules_alpha = {}
        for key, value in weights.items():
            name = key.split(".")[0]
            if "alpha" in key:
                modules_alpha[name] = value
            elif "lora_down" in key:
                modules_dim[name] = value.size()[0]
        for name in modules_dim:
            if name not in modules_alpha:
                modules_alpha = modules_dim[name]
        return LoRANetwork(modules_dim=modules_dim, modules_alpha=modules_alpha)
    ```

    ## Good

    ```python
    def create_lora_network(weights):
        modules_dim = {}
        modules_alpha = {}
        for key, value in weights.items():
            name = key.split(".")[0]
            if "alpha" in key:
                modules_alpha[name] = value
            elif "lora_down" in key:
                modules_dim[name] = value.size()[0]
        for name in modules_dim:
            if name not in modules_alpha:
                modules_alpha[name] = modules_dim[name]
        return LoRANetwork(modules_dim=modules_dim, modules_alpha=modules_alpha)
    ```

    ## Fix safety

    Safe: a missing alpha means the rank, and where the table became a number, the next look into it failed
    or lost every other alpha. No fix where the question about the module is not the branch around it.

    ## Limits

    Found only where the function itself makes the dictionary, fills or asks it by module, and rebinds it
    under a question about the module at hand. A name that deliberately becomes something else (another
    dictionary, a list, the result of an unknown call) is not reported.

    ## References

    - kohya-ss/sd-scripts, `create_network_from_weights`, repaired in f7a1868f
    """

    code = "LS209"
    name = "alpha-table-overwritten"
    fix = "sometimes"

    def check(self, model: Model) -> Iterator[Finding]:
        """Rebindings of a mapping of alphas to a number, under a question about one of its keys."""
        for function in model.functions:
            tables: dict[str, Event] = {}
            for event in function.events("bind"):
                if not _ALPHA_NAME.fullmatch(event.name):
                    continue
                if _is_new_table(event.value):
                    tables[event.name] = event
                    continue
                made = tables.get(event.name)
                if made is None:
                    continue
                asked = _asked_key(event, made.value)
                filled = _filling(function, made.value)
                if asked is None or filled is None or not _is_number(model, event.value, function):
                    continue
                name, value = event.name, source_text(event.value)
                number = "one number" if "..." in value else f"one number, `{value}`"
                filename = function.filename
                yield self.finding(
                    model,
                    filename,
                    event.loc,
                    f"`{name}` is the table of all alphas, and is replaced by {number}",
                    event=event,
                    effect="the alpha of every other module is lost as soon as one module has none",
                    trace=[
                        (filename, made.loc, f"`{name}` is made as a table, alpha by module"),
                        (filename, filled.loc, "and filled for one module after the other"),
                        (filename, asked.loc, "a module has no entry in it"),
                        (filename, event.loc, f"so the whole table is replaced; `{name}[...]` was meant"),
                    ],
                    fix=write_entry(model, filename, event),
                )


def _is_new_table(term: Term) -> bool:
    return isinstance(term, Mapping) or (
        isinstance(term, Call)
        and isinstance(term.func, Global | Attr)
        and term.func.name in ("dict", "defaultdict", "OrderedDict")
    )


def _asked_key(event: Event, table: Term) -> Op | None:
    """The guard ``key not in table``, for a loop variable ``key``."""
    for guard in event.guards:
        test = guard.test
        if (
            isinstance(test, Op)
            and test.sign in ("in", "not in")
            and guard.holds == (test.sign == "not in")
            and any(isinstance(part, Element) for part in walk(test.left))
            and _is_table(test.right, table)
        ):
            return test
    return None


def _is_table(term: Term, table: Term) -> bool:
    """Is ``term`` the dictionary ``table``, maybe joined with what loops made of its name?"""
    while isinstance(term, Call) and isinstance(term.func, Attr) and term.func.name == "keys":
        term = term.func.base
    return any(part is table for part in walk(term))


def _filling(function: Function, table: Term) -> Event | None:
    """A write ``table[key] = value`` with a computed key."""
    for event in function.events("write"):
        target = event.target
        if isinstance(target, Item) and not isinstance(target.key, Const) and _is_table(target.base, table):
            return event
    return None


def _is_number(model: Model, term: Term, function: Function) -> bool:
    """Is ``term`` a number: a rank, an extent, a literal, or an entry of a table of such numbers?"""
    match term:
        case Const(value=int() | float()):
            return True
        case Choice(then=then, other=other):
            return all(_is_number(model, part, function) for part in (then, other))
        case Call(func=Global(name=name) | Attr(name=name)) if name in _NUMBERS:
            return name != "size"
        case Item(base=Attr(name="shape")) | Item(base=Call(func=Attr(name="size"))):
            return True
        case Item(base=base) if any(_is_new_table(part) for part in walk(base)):
            stored = [
                event.value
                for event in function.events("write")
                if isinstance(event.target, Item) and event.target.base is base
            ]
            return bool(stored) and all(_is_number(model, value, function) for value in stored)
        case _:
            found = model.evaluator.values(term, model.evaluator.frame(function))
            return bool(found) and all(isinstance(a.value, Number) for a in found)
