"""`thread_alpha` for rules that read the model; goes when they have moved."""

from __future__ import annotations

from functools import partial

import libcst as cst
import libcst.matchers as m

from lorascale_lint.codemods.complete_alphas import ALPHA_SUFFIX, add_alphas_at_load, insert_helper
from lorascale_lint.codemods.renamed_keys import holds_every_key, holds_whole_file
from lorascale_lint.codemods.statements import (
    append_argument,
    append_parameter,
    function_at,
    insert_statements,
    is_annotated,
    statement_index,
)
from lorascale_lint.facts.terms import (
    Attr,
    Call,
    Const,
    Guard,
    Item,
    Op,
    Param,
    Term,
    Text,
    conjuncts,
    is_none,
    walk,
)
from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrite, Rewrites
from lorascale_lint.model import Implementation, Loader, Model
from lorascale_lint.model.key_pattern import key_pattern
from lorascale_lint.model.project import CallSite
from lorascale_lint.model.state import Setter
from lorascale_lint.model.vocabulary import key_side


@repair
def thread_alpha(model: Model, implementation: Implementation, setter: Setter) -> Fix | None:
    """Give the setter an alpha parameter, let it store alpha and rank, and let loaders pass alpha.

    Safe: the parameter comes last and may be left out, which keeps the constructor's alpha; an
    adapter that states no alpha gets its own rank, so that its scale stays 1. None where one of the loaders
    can't be made to pass alpha: half of the way would look repaired.
    """
    rewrites = Rewrites(model.read_source)
    alpha = implementation.alpha
    if alpha is None:
        return None
    parameter = setter.alpha_parameter
    if parameter is None:
        if not _extend_setter(model, implementation, setter, rewrites):
            return None
        parameter = alpha.name
    for loader in model.loaders:
        for site, _, called in loader.setter_calls:
            if called is not setter or passes_alpha(site, setter, parameter):
                continue
            if not _pass_alpha(model, loader, site, setter, parameter, rewrites):
                return None
    return rewrites.fix("safe", "Pass the adapter's alpha to the layer")


def passes_alpha(site: CallSite, setter: Setter, parameter: str) -> bool:
    """Does the call give the setter an alpha?"""
    names = [found.name for found in setter.function.positional]
    by_position = parameter in names and len(site.call.args) > names.index(parameter)
    return by_position or any(name == parameter for name, _ in site.call.keywords) or site.call.spread


def _extend_setter(model: Model, implementation: Implementation, setter: Setter, rewrites: Rewrites) -> bool:
    alpha, rank = implementation.alpha, implementation.rank
    overridden = [
        cls
        for cls in model.project.family(implementation.root)
        if setter.function.facts.name in cls.facts.methods and cls is not setter.function.owner
    ]
    factor = setter.factors["A"].event.value
    tensor = next((term.name for term in _parameters(factor) if term.name != setter.function.receiver), None)
    rewrite = rewrites.of(setter.function.filename)
    found = function_at(rewrite, setter.function.facts.loc)
    if alpha is None or overridden or tensor is None or found is None:
        return False
    node, loc = found
    last = max(setter.factors.values(), key=lambda write: write.event.row)
    index = statement_index(rewrite, node.body, last.event.loc)
    if index is None:
        return False
    unset = _configured_alpha(model, implementation, rewrites)
    if unset is None:
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


def _configured_alpha(model: Model, implementation: Implementation, rewrites: Rewrites) -> str | None:
    """Source of the alpha that the constructor gives a layer, so that one adapter's alpha never becomes
    the next one's default: None if it gives none, else an attribute that is added for it."""
    alpha = implementation.alpha
    constructor = model.project.method(implementation.root, "__init__")
    if alpha is None:
        return None
    if all(is_none(write.value) for write in alpha.writes if write.value is not None):
        return "None"
    for event in () if constructor is None else constructor.events("write"):
        target, value = event.target, event.value
        if isinstance(target, Attr) and target.name == alpha.name and not event.guards and constructor:
            rewrite = rewrites.of(constructor.filename)
            found = function_at(rewrite, constructor.facts.loc)
            index = None if found is None else statement_index(rewrite, found[0].body, event.loc)
            if found is None or index is None:
                return None
            name = f"default_{alpha.name}"
            given = value.name if isinstance(value, Param) else f"self.{alpha.name}"
            insert = partial(
                insert_statements,
                index=index + 1,
                statements=[f"self.{name} = {given}"],
                config=rewrite.module.config_for_parsing,
            )
            rewrite.change(found[1], cst.FunctionDef, insert)
            return f"self.{name}"
    return None


def can_pass_alpha(
    model: Model,
    loader: Loader,
    site: CallSite,
    implementation: Implementation,
    setter: Setter,
    rewrites: Rewrites,
) -> bool:
    """Could `thread_alpha` reach the layer if it kept an alpha? Only if this is its one loader."""
    name = setter.function.facts.name
    overridden = [cls for cls in model.project.family(implementation.root) if name in cls.facts.methods]
    alone = [called is setter for other in model.loaders for _, _, called in other.setter_calls]
    place = _factor_place(model, loader, site, setter, rewrites)
    return len(overridden) == 1 and alone == [True] and place is not None


def _pass_alpha(
    model: Model, loader: Loader, site: CallSite, setter: Setter, parameter: str, rewrites: Rewrites
) -> bool:
    """Look alpha up beside the factors and pass it on, if the loader keeps every key of the file."""
    place = _factor_place(model, loader, site, setter, rewrites)
    if place is None:
        return False
    adapter, prefix, suffix = place
    rewrite = rewrites.of(loader.function.filename)
    for cut in _last_part_cuts(rewrite, loader):
        key = rewrite.code(cst.ensure_type(cst.ensure_type(cut.value, cst.Call).func, cst.Attribute).value)
        whole = f'{key}.removesuffix(".weight").split(".")'
        first = cst.ensure_type(cut.slice[0].slice, cst.Slice).lower
        rewrite.replace(
            cut, cst.parse_expression(whole if first is None else f"{whole}[{rewrite.code(first)}:]")
        )
    method = function_at(rewrite, loader.function.facts.loc)
    if method is None:
        return False
    if loader.traffic.files_read and add_alphas_at_load(rewrite, method[0], loader.traffic.files_read[0].loc):
        value = f'{adapter}.get({prefix} + "{ALPHA_SUFFIX}")'
    else:
        value = f"{_add_lookup(loader, rewrite, suffix)}({adapter}, {prefix})"
    rewrite.change(
        site.call.loc,
        cst.Call,
        lambda node: append_argument(cst.ensure_type(node, cst.Call), parameter, value),
    )
    return True


def _factor_place(
    model: Model, loader: Loader, site: CallSite, setter: Setter, rewrites: Rewrites
) -> tuple[str, str, str] | None:
    """Source of the dictionary, of the layer's name and of the suffix by which factor A is looked up."""
    names = [found.name for found in setter.function.positional]
    source = next(iter(_parameters(setter.factors["A"].event.value)), None)
    if source is None or source.name not in names:
        return None
    factor = site.call.argument(names.index(source.name), source.name)
    rewrite = rewrites.of(loader.function.filename)
    place: cst.Subscript | cst.Attribute | None
    match factor:
        case Item(base=container, key=key):
            place = rewrite.find(factor.loc, cst.Subscript)
        case Call(func=Attr(base=container, name="get") as method, args=(key, *_)):
            place = rewrite.find(method.loc, cst.Attribute)
        case _:
            return None
    stem = _stem(rewrite, key)
    if stem is None or place is None:
        return None
    given = isinstance(container, Param) and holds_whole_file(model, loader.function, container.name)
    if not (
        given or _keeps_all_keys(loader, container) or holds_every_key(rewrite, loader, container, stem[1])
    ):
        return None
    return (rewrite.code(place.value), *stem)


_LAST_PART_CUT = m.Subscript(
    value=m.Call(func=m.Attribute(value=m.Name(), attr=m.Name("split")), args=[m.Arg(m.SimpleString())]),
    slice=[m.SubscriptElement(m.Slice(upper=m.UnaryOperation(m.Minus(), m.Integer("1"))))],
)


def _last_part_cuts(rewrite: Rewrite, loader: Loader) -> list[cst.Subscript]:
    """``key.split(".")[1:-1]`` in the loader: takes `.weight` for the last part, which an alpha's is not."""
    found = function_at(rewrite, loader.function.facts.loc)
    cuts = [] if found is None else m.findall(found[0], _LAST_PART_CUT)
    return [cst.ensure_type(cut, cst.Subscript) for cut in cuts]


def _keeps_all_keys(loader: Loader, container: Term) -> bool:
    """Does the loader store tensors of ``container`` under keys it takes from the file, unfiltered?"""
    root = container.base if isinstance(container, Item) else container
    if not isinstance(root, Attr):
        return False
    return any(
        isinstance(event.target, Item)
        and isinstance(event.target.base, Item)
        and isinstance(event.target.base.base, Attr)
        and event.target.base.base.name == root.name
        and key_pattern(event.target.key).strip("*") == ""
        and not any(_asks_for_factor(guard) for guard in event.guards)
        for event in loader.function.events("write")
    )


def _asks_for_factor(guard: Guard) -> bool:
    """Does the condition let none but the keys of factors through?"""
    texts = (
        part.value
        for term, holds in conjuncts(guard)
        if holds
        for part in walk(term)
        if isinstance(part, Const) and isinstance(part.value, str)
    )
    return any(key_side(text) is not None for text in texts)


def _stem(rewrite: Rewrite, key: Term) -> tuple[str, str] | None:
    """Source of the layer's name and the literal suffix of a key ``name + ".lora_A"``."""
    match key:
        case Op(sign="+", left=left, right=Const(value=str() as suffix)):
            pass
        case Text(parts=(left, Const(value=str() as suffix))):
            pass
        case _:
            return None
    node = rewrite.find(left.loc, cst.Name)
    return None if node is None else (rewrite.code(node), suffix)


def _add_lookup(loader: Loader, rewrite: Rewrite, suffix: str) -> str:
    """Add a function that looks up a layer's alpha in front of the loader's class or function."""
    name = "get_lora_alpha"
    method = function_at(rewrite, loader.function.facts.loc)
    hinted = method is not None and is_annotated(method[0])
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
    if method is not None:
        insert_helper(rewrite, method[0], source)
    return name


def _parameters(term: Term) -> list[Param]:
    return [found for found in walk(term) if isinstance(found, Param)]
