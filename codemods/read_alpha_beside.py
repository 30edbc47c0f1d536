"""Read alpha beside the factors of a file, and scale their product."""

from __future__ import annotations

import re

import libcst as cst
import libcst.matchers as m

from lorascale_lint.codemods.multiply_delta import multiplied, multiply_exits
from lorascale_lint.facts.terms import Call, Global, Loc, Op, Param, walk
from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrite, Rewrites
from lorascale_lint.model import Model
from lorascale_lint.model.dictionary_merges import DictionaryMerge
from lorascale_lint.model.project import Function, bound_arguments
from lorascale_lint.model.unscaled_exits import Exit

_DOWN = re.compile(r"(?i)(\w+_)?(lora_?)?down(_\w+)?")
_REPLACED = re.compile(r"""^(.*)\.replace\(["']\.?lora_up["'], ?["']\.?lora_down["']\)$""")
_KEPT = frozenset("permute transpose squeeze unsqueeze reshape view to float half contiguous t".split())


@repair
def read_alpha_beside(model: Model, merge: DictionaryMerge, *, measured: bool) -> Fix | None:
    """``down = sd[key]`` is followed by ``scale = sd.get(<alpha key>, rank) / rank``, for its product.

    For ``lora_down`` keys only, beside which alpha stands, and dictionaries that nothing filtered. Safe: an
    alpha that equals the rank gives 1, and so does a missing one.
    """
    delta, function = merge.delta, merge.delta.function
    places = (delta.up.place, delta.down.place)
    if merge.function is not function or any(place.function is not function for place in places):
        return None
    if not any("lora_down" in word for word in function.facts.words):
        return None
    rewrites = Rewrites(model.read_source)
    rewrite = rewrites.of(function.filename)
    lines = [assigned_subscript(rewrite, loc) for loc in (delta.up.loc, delta.down.loc)]
    found = [line for line in lines if line is not None and _DOWN.fullmatch(line[1])]
    if len(found) != 1:
        return None
    line, local, subscript = found[0]
    container = subscript.value
    key = split_key(rewrite, subscript, ".lora_down")
    if key is None or not isinstance(container, cst.Name):
        return None
    if not holds_whole_file(model, function, container.value):
        return None
    names = free_names(function, "rank", "scale")
    if names is None or not _is_within(rewrite, line, merge.loc if not measured else delta.loc):
        return None
    rank, scale = names
    statements = [
        f"{rank} = {local}.shape[0]",
        f"{scale} = float({container.value}.get({key}, {rank})) / {rank}",
    ]
    if measured:
        node = rewrite.find(delta.loc, cst.BinaryOperation) or rewrite.find(delta.loc, cst.Call)
        if not isinstance(node, cst.BaseExpression):
            return None
        norm = _with_conversions(rewrite, node)
        rewrite.replace(norm, multiplied(rewrite, norm, scale))
    else:
        terms = tuple(
            part
            for part in walk(merge.event.value)
            if isinstance(part, Op | Call) and getattr(part, "loc", None) == delta.loc
        )
        leaving = Exit(function, merge.event, terms, scale, rewrite.positions[line])
        if not terms or not multiply_exits(rewrites, (leaving,)):
            return None
    added = [cst.parse_statement(text) for text in statements]
    rewrite.change(
        rewrite.positions[line],
        cst.SimpleStatementLine,
        lambda node: cst.FlattenSentinel([node, *added]),
    )
    return rewrites.fix("safe", "Multiply by alpha / rank of the file")


def assigned_subscript(
    rewrite: Rewrite, loc: Loc
) -> tuple[cst.SimpleStatementLine, str, cst.Subscript] | None:
    """The statement ``local = container[key].to(...)`` at a place."""
    around = rewrite.enclosing(loc, cst.SimpleStatementLine)
    if around is None:
        return None
    line = cst.ensure_type(around[0], cst.SimpleStatementLine)
    match line.body:
        case [cst.Assign(targets=[cst.AssignTarget(target=cst.Name(value=local))], value=value)]:
            pass
        case _:
            return None
    while not isinstance(value, cst.Subscript):
        match value:
            case cst.Call(func=cst.Attribute(value=inner)):
                value = inner
            case _:
                return None
    return line, local, value


def split_key(rewrite: Rewrite, subscript: cst.Subscript, separator: str) -> str | None:
    """Source of the key that alpha has beside the factor A at ``subscript``: up to ``separator`` the same."""
    match subscript.slice:
        case [cst.SubscriptElement(slice=cst.Index(value=key))]:
            text = rewrite.code(key)
        case _:
            return None
    swapped = _REPLACED.match(text)
    if swapped is not None and swapped[1].isidentifier():
        return f'{swapped[1]}.split(".lora_up")[0] + ".alpha"'
    if isinstance(key, cst.Name | cst.Subscript):
        return f'{text}.split("{separator}")[0] + ".alpha"'
    if text.count("lora_down.weight") == 1 and not m.findall(key, m.Call()):
        return text.replace("lora_down.weight", "alpha")
    return None


def holds_whole_file(model: Model, function: Function, name: str) -> bool:
    """Is the dictionary what a caller gives or a library reads, and not what the project made of that?"""
    bound = [event.value for event in function.events("bind") if event.name == name]
    if function.parameter(name) is not None:
        for site in model.project.call_sites(function):
            given = bound_arguments(site.call, function).get(name)
            if given is not None:
                bound.append(given)
    elif not bound:
        return False
    return all(
        isinstance(value, Param | Global)
        or (isinstance(value, Call) and not model.project.callees(value.func, function, function.owner))
        for value in bound
    )


def free_names(function: Function, *names: str) -> tuple[str, ...] | None:
    """The names, with a prefix if the function has another use for them."""
    words = {word for word in function.facts.words if word.isidentifier()}
    for prefix in ("", "lora_", "trained_"):
        found = tuple(f"{prefix}{name}" for name in names)
        if words.isdisjoint(found):
            return found
    return None


def _is_within(rewrite: Rewrite, line: cst.SimpleStatementLine, place: Loc) -> bool:
    """Does ``place`` come after ``line``, wherever the program went on from there?"""
    after = rewrite.positions[line].end_row < place.row
    block = rewrite.enclosing(rewrite.positions[line], cst.IndentedBlock)
    return after and block is not None and place.end_row <= block[1].end_row


def _with_conversions(rewrite: Rewrite, node: cst.BaseExpression) -> cst.BaseExpression:
    """``node`` with the conversions that are called on it."""
    attribute = rewrite.tree.parent(node)
    call = None if attribute is None else rewrite.tree.parent(attribute)
    if not isinstance(attribute, cst.Attribute) or attribute.attr.value not in _KEPT:
        return node
    return _with_conversions(rewrite, call) if isinstance(call, cst.Call) and call.func is attribute else node
