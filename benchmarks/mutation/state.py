"""Mutants of what carries alpha: keys, defaults, tests, arguments, settings, fields."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from lorascale_lint.knowledge.roles import ALPHA, MULTIPLIER, RANK, SCALING, STRENGTH, role_of
from lorascale_lint.ledger.entries import KeyRead, KeyWrite, Use, argument_of
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.left_at_default import constructor
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.tables import key_role_of
from lorascale_lint.provenance.values import Number, Place, Ref, Text, Value, options
from mutation.edits import Mutant, Sheet, SheetOf


def at_keys(ledger: Ledger, sheet_of: SheetOf) -> Iterator[Mutant]:
    """An alpha of a file that is not read, has 1 for its default, or is not written."""
    for read in ledger.reads:
        sheet = sheet_of(read.spot.file.filename)
        if sheet is None or read.spot.file.is_test:
            continue
        if key_role_of(read.key) == ALPHA:
            yield from _of_read(read, sheet)
        if _path(read.container).rpartition(".")[2] in ("alpha_pattern", "rank_pattern"):
            match read.spot.node:
                case ast.Call(args=[_, other]) if read.how == "get":
                    yield from sheet.replaced(
                        "pattern not asked", read.spot.node, sheet.text(other), read.spot
                    )
                case _:
                    pass
    ranked = {write.spot.function for write in ledger.writes if key_role_of(write.key) == RANK}
    for write in ledger.writes:
        sheet = sheet_of(write.spot.file.filename)
        if sheet is None or write.spot.file.is_test or key_role_of(write.key) != ALPHA:
            continue
        if _is_field(write) and write.spot.function not in ranked:
            continue  # of metadata that may say anything
        statement = _statement(write.spot.node, sheet)
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Subscript):
            yield from sheet.replaced("alpha not written", statement, "pass", write.spot)
        display = sheet.parents.get(id(write.spot.node))
        if isinstance(display, ast.Dict):
            yield from _of_display(display, write.spot, sheet)


def _is_field(write: KeyWrite) -> bool:
    """Is it written under a plain name, and not under the key of a module?"""
    literal = write.key.literal if isinstance(write.key, Text) else None
    return (literal or ".").isidentifier()


def _of_display(node: ast.Dict, spot: Spot, sheet: Sheet) -> Iterator[Mutant]:
    """Settings with a rank and an alpha: the alpha is written from the rank."""
    held = {
        role_of(key.value, True): value
        for key, value in zip(node.keys, node.values, strict=True)
        if isinstance(key, ast.Constant) and isinstance(key.value, str)
    }
    if ALPHA in held and RANK in held:
        pairs = zip(node.keys, node.values, strict=True)
        kept = [(key, value) for key, value in pairs if value is not held[ALPHA]]
        texts = [f"**{sheet.text(v)}" if k is None else f"{sheet.text(k)}: {sheet.text(v)}" for k, v in kept]
        yield from sheet.replaced("alpha not written", node, "{" + ", ".join(texts) + "}", spot)
        yield from sheet.replaced("rank written as alpha", held[ALPHA], sheet.text(held[RANK]), spot)


def _path(value: Value) -> str:
    return value.path if isinstance(value, Place) else ""


def _statement(node: ast.AST, sheet: Sheet) -> ast.AST:
    return next((item for item in (node, *sheet.around(node)) if isinstance(item, ast.stmt)), node)


def _is_rank(node: ast.expr, sheet: Sheet) -> bool:
    """Is it the rank by its name, or an extent of a factor?"""
    text = sheet.text(node)
    if ".shape[" in text or ".size(" in text:
        return True
    return role_of(text.rpartition(".")[2], True) == RANK


def _of_read(read: KeyRead, sheet: Sheet) -> Iterator[Mutant]:
    node = read.spot.node
    match node:
        case ast.Call(func=ast.Attribute(attr="get" | "pop"), args=[_, other]) if _is_rank(other, sheet):
            yield from sheet.replaced("alpha never read", node, sheet.text(other), read.spot)
            yield from sheet.replaced("default of a missing alpha is 1", other, "1.0", read.spot)
        case ast.Call(func=ast.Attribute(attr="get"), args=[_]):
            yield from sheet.replaced("alpha never read", node, "None", read.spot)
        case _:
            pass
    before = node
    for item in sheet.around(node):
        if isinstance(item, ast.stmt):
            break
        if isinstance(item, ast.IfExp) and item.body is before and _is_rank(item.orelse, sheet):
            yield from sheet.replaced("default of a missing alpha is 1", item.orelse, "1.0", read.spot)
            yield from sheet.replaced("alpha never read", item, sheet.text(item.orelse), read.spot)
        before = item


def at_tests(ledger: Ledger, sheet_of: SheetOf) -> Iterator[Mutant]:
    """A test for None that becomes one for truth, and the default that it guards made 1."""
    for ask in ledger.asks:
        sheet = sheet_of(ask.spot.file.filename)
        if sheet is None or ask.spot.file.is_test or ask.how != "none" or not _is_alpha(ask.value):
            continue
        node = ask.spot.node
        parent = sheet.parents.get(id(node))
        if not isinstance(node, ast.Compare):
            continue
        others: list[ast.expr] = []
        match parent:
            case ast.IfExp(body=body, orelse=orelse) if parent.test is node:
                others = [body, orelse]
            case ast.If(body=[ast.Assign(value=value)]) if parent.test is node:
                others = [value]
            case _:
                pass
        ranks = [other for other in others if _is_rank(other, sheet)]
        for other in ranks:
            if not _is_choice(ask.spot.function, node.left):
                yield from sheet.replaced("default of a missing alpha is 1", other, "1.0", ask.spot)
        if others and not ranks and not any(sheet.text(other) == "None" for other in others):
            sign = "" if isinstance(node.ops[0], ast.IsNot) else "not "
            yield from sheet.replaced("truth of alpha", node, sign + sheet.text(node.left), ask.spot)


def _is_alpha(value: Value) -> bool:
    return any(
        (isinstance(option.value, Place) and option.value.role == ALPHA)
        or (
            isinstance(option.value, Number)
            and {symbol.role for symbol, _ in option.value.scale.powers} == {ALPHA}
        )
        for option in options(value)
    )


def _is_choice(function: object, tested: ast.expr) -> bool:
    """Is the alpha a parameter of a function that is not given the factors: the trainer's choice?"""
    parameters = getattr(function, "parameters", ())
    roles = {role_of(name, True) for name in parameters}
    return isinstance(tested, ast.Name) and tested.id in parameters and not roles & {"A", "B"}


def at_calls(ledger: Ledger, sheet_of: SheetOf) -> Iterator[Mutant]:
    """An alpha, strength or contract of the settings that a call does not hand on."""
    for use in ledger.uses:
        sheet = sheet_of(use.spot.file.filename)
        call = use.spot.node
        if sheet is None or use.spot.file.is_test or not isinstance(call, ast.Call):
            continue
        optional = _optional(ledger, use)
        for name in use.given:
            spot = argument_of(use, name)
            if spot is None or name not in optional:
                continue
            yield from _not_handed(f"{optional[name]} not handed on", call, spot.node, use, sheet)


_SETTINGS = ("LoraConfig", "LoHaConfig", "LoKrConfig")
_CONTRACT = {"lora_alpha": ALPHA, "alpha": ALPHA, "use_rslora": "rsLoRA", "alpha_pattern": "pattern"}


def _optional(ledger: Ledger, use: Use) -> dict[str, str]:
    """Parameters that may be left out, and what each is."""
    if use.callee is None:
        return _CONTRACT if use.called in _SETTINGS else {}
    made = constructor(ledger, use.callee)
    if made is None:
        return {}
    args = made.node.args
    positional = [*args.posonlyargs, *args.args]
    names = [item.arg for item in positional[len(positional) - len(args.defaults) :]]
    names += [item.arg for item, value in zip(args.kwonlyargs, args.kw_defaults, strict=True) if value]
    roles = {name: role_of(name, True) for name in names}
    return {name: role for name, role in roles.items() if role in (ALPHA, STRENGTH)}


def _not_handed(operator: str, call: ast.Call, given: ast.AST, use: Use, sheet: Sheet) -> Iterator[Mutant]:
    parts: list[tuple[ast.AST, bool]] = [(item, item is given) for item in call.args]
    parts += [(item, item.value is given) for item in call.keywords]
    place = next((index for index, (_, is_it) in enumerate(parts) if is_it), None)
    if place is None or (place < len(call.args) - 1):
        return
    kept = [sheet.text(item) for item, is_it in parts if not is_it]
    yield from sheet.replaced(operator, call, f"{sheet.text(call.func)}({', '.join(kept)})", use.spot)


def at_fields(ledger: Ledger, sheet_of: SheetOf) -> Iterator[Mutant]:
    """A setter of a strength or scale that multiplies what it should set."""
    for store in ledger.stores:
        sheet = sheet_of(store.spot.file.filename)
        function = store.spot.function
        if sheet is None or store.spot.file.is_test or function is None or not isinstance(store.owner, Ref):
            continue
        if not function.name.startswith("set") or role_of(store.field, True) not in (
            SCALING,
            STRENGTH,
            MULTIPLIER,
        ):
            continue
        statement = _statement(store.spot.node, sheet)
        match statement:
            case ast.Assign(targets=[ast.Attribute() as target], value=value):
                after = f"{sheet.text(target)} *= {sheet.text(value)}"
                yield from sheet.replaced("setter multiplies", statement, after, store.spot)
            case _:
                pass
