"""Thread alpha from the adapter file through the setter to the layer, over all files concerned."""

from __future__ import annotations

import ast
from functools import partial

import libcst as cst

from lorascale_lint.codemods.complete_alphas import ALPHA_SUFFIX, add_alphas_at_load, insert_helper
from lorascale_lint.codemods.statements import (
    append_argument,
    append_parameter,
    definition,
    insert_statements,
    is_annotated,
    statement_index,
)
from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrite, Rewrites
from lorascale_lint.fixing.tree import inside
from lorascale_lint.knowledge.roles import ALPHA, RANK, A
from lorascale_lint.ledger.class_fields import CONSTRUCTORS
from lorascale_lint.ledger.entries import Use, has_star
from lorascale_lint.ledger.factor_setters import Setter
from lorascale_lint.ledger.families import Family
from lorascale_lint.ledger.handed_factors import Handed, handed_factors
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.provenance.values import NONE, options


@repair
def thread_alpha(ledger: Ledger, family: Family, setter: Setter) -> Fix | None:
    """Give the setter an alpha parameter, let it store alpha and rank, and let loaders pass alpha.

    Safe: the parameter comes last and may be left out, which keeps the constructor's alpha; an
    adapter that states no alpha gets its own rank, so that its scale stays 1. None where one of the loaders
    can't be made to pass alpha: half of the way would look repaired.
    """
    rewrites = Rewrites(ledger.read_source)
    alpha = family.field(ALPHA)
    if alpha is None:
        return None
    parameter = setter.alpha_parameter
    if parameter is None:
        if not _extend_setter(ledger, family, setter, rewrites):
            return None
        parameter = alpha.name
    for handed in handed_factors(ledger, setter):
        if not passes(handed.use, parameter) and not _pass_alpha(ledger, handed, parameter, rewrites):
            return None
    return rewrites.fix("safe", "Pass the adapter's alpha to the layer")


def passes(use: Use, parameter: str) -> bool:
    """Does the call give the setter an alpha?"""
    call = use.spot.node
    assert isinstance(call, ast.Call)
    return parameter in use.given or has_star(call)


def _extend_setter(ledger: Ledger, family: Family, setter: Setter, rewrites: Rewrites) -> bool:
    alpha, rank, tensor = family.field(ALPHA), family.field(RANK), setter.parameter(A)
    function = setter.function
    overridden = [cls for cls in family.members if function.name in cls.methods and cls is not function.owner]
    rewrite = rewrites.of(function.file.filename)
    found = definition(rewrite, function)
    if alpha is None or overridden or tensor is None or found is None:
        return False
    node, loc = found
    last = max(setter.factors.values(), key=lambda store: store.spot.row)
    index = statement_index(rewrite, node.body, last.spot.loc)
    unset = _configured_alpha(ledger, family, rewrites)
    if index is None or unset is None:
        return False
    lines = [f"self.{rank.name} = {tensor}.shape[0]"] if rank is not None else []
    lines.append(f"self.{alpha.name} = {unset} if {alpha.name} is None else float({alpha.name})")
    annotation = "float | None" if is_annotated(node) else ""
    config = rewrite.module.config_for_parsing
    rewrite.change(
        loc,
        cst.FunctionDef,
        lambda function: append_parameter(
            cst.ensure_type(insert_statements(function, index + 1, lines, config), cst.FunctionDef),
            alpha.name,
            annotation,
            "None",
        ),
    )
    return True


def _configured_alpha(ledger: Ledger, family: Family, rewrites: Rewrites) -> str | None:
    """Source of the alpha that the constructor gives a layer, so that one adapter's alpha never becomes
    the next one's default: None if it gives none, else an attribute that is added for it."""
    alpha = family.field(ALPHA)
    if alpha is None:
        return None
    if all(kept.value == NONE for kept in alpha.kept):
        return "None"
    line = {family.root, *ledger.lineage(family.root)}
    for store in ledger.stores:
        function = store.spot.function
        if function is None or function.name not in CONSTRUCTORS or function.owner not in line:
            continue
        if store.field != alpha.name or store.spot.chain or store.guards:
            continue
        rewrite = rewrites.of(function.file.filename)
        found = definition(rewrite, function)
        index = None if found is None else statement_index(rewrite, found[0].body, store.spot.loc)
        if found is None or index is None:
            return None
        name = f"default_{alpha.name}"
        paths = [getattr(option.value, "path", "") for option in options(store.value)]
        given = next((path for path in paths if path in function.parameters), f"self.{alpha.name}")
        insert = partial(
            insert_statements,
            index=index + 1,
            statements=[f"self.{name} = {given}"],
            config=rewrite.module.config_for_parsing,
        )
        rewrite.change(found[1], cst.FunctionDef, insert)
        return f"self.{name}"
    return None


def _pass_alpha(ledger: Ledger, handed: Handed, parameter: str, rewrites: Rewrites) -> bool:
    """Look alpha up beside the factors and pass it on, if the loader keeps every key of the file."""
    function, place = handed.use.spot.function, handed.place
    if function is None or place is None or not place.holds_file(ledger):
        return False
    rewrite = rewrites.of(function.file.filename)
    found = definition(rewrite, function)
    if found is None:
        return False
    for cut in _last_part_cuts(found[0]):
        key = rewrite.code(cst.ensure_type(cst.ensure_type(cut.value, cst.Call).func, cst.Attribute).value)
        whole = f'{key}.removesuffix(".weight").split(".")'
        first = cst.ensure_type(cut.slice[0].slice, cst.Slice).lower
        rewrite.replace(
            cut, cst.parse_expression(whole if first is None else f"{whole}[{rewrite.code(first)}:]")
        )
    adapter, prefix = ast.unparse(place.container), place.stem
    if handed.opened is not None and add_alphas_at_load(rewrite, found[0], handed.opened.loc):
        value = f'{adapter}.get({prefix} + "{ALPHA_SUFFIX}")'
    else:
        value = f"{_add_lookup(rewrite, found[0], place.suffix)}({adapter}, {prefix})"
    rewrite.change(
        handed.use.spot.loc,
        cst.Call,
        lambda node: append_argument(cst.ensure_type(node, cst.Call), parameter, value),
    )
    return True


def _last_part_cuts(loader: cst.FunctionDef) -> list[cst.Subscript]:
    """``key.split(".")[1:-1]`` in the loader: takes `.weight` for the last part, which an alpha's is not."""
    return inside(loader, cst.Subscript, _cuts_last_part)


def _cuts_last_part(node: cst.CSTNode) -> bool:
    match node:
        case cst.Subscript(
            value=cst.Call(
                func=cst.Attribute(value=cst.Name(), attr=cst.Name(value="split")),
                args=[cst.Arg(value=cst.SimpleString())],
            ),
            slice=[
                cst.SubscriptElement(
                    slice=cst.Slice(
                        upper=cst.UnaryOperation(operator=cst.Minus(), expression=cst.Integer(value="1"))
                    )
                )
            ],
        ):
            return True
        case _:
            return False


def _add_lookup(rewrite: Rewrite, loader: cst.FunctionDef, suffix: str) -> str:
    """Add a function that looks up a layer's alpha in front of the loader's class or function."""
    name = "get_lora_alpha"
    hinted = is_annotated(loader)
    signature = "adapter: dict[str, torch.Tensor], name: str) -> float:" if hinted else "adapter, name):"
    source = (
        f"def {name}({signature}\n"
        '    """\n'
        "    Look up the alpha of one layer of an adapter; without one it is the layer's rank.\n"
        '    """\n'
        f'    rank = adapter[name + "{suffix}"].shape[0]\n'
        '    for alpha_name in (name + ".lora_alpha", name + ".alpha"):\n'
        "        if alpha_name in adapter:\n"
        "            return float(adapter[alpha_name])\n"
        '    if name + ".alpha_scale" in adapter:  # alpha / rank\n'
        '        return float(adapter[name + ".alpha_scale"]) * rank\n'
        "    return rank\n"
    )
    insert_helper(rewrite, loader, source)
    return name
