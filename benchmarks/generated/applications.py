"""How a delta meets its base: the statements of merges, forwards, unmerges and exports."""

from __future__ import annotations

import re
from dataclasses import dataclass

from benchmarks.generated.code import FACTORS, Block, Incompatible, Roles
from benchmarks.generated.products import Product


@dataclass(frozen=True, slots=True)
class Meeting:
    """The choices of one application."""

    kind: str
    form: str
    placing: str
    delta: str
    branch: str
    cast: str
    product: Product
    last: str
    """The role of the factor that a scale on B multiplies."""
    first: str


def apply(block: Block, meeting: Meeting, roles: Roles, scales: list[str], base: str, x: str = "x") -> None:
    """Write the application; ``base`` is the weight, or the output that the delta is added to."""
    product, kind = meeting.product, meeting.kind
    block.imports.update(product.imports)
    if kind == "forward" and not product.forward:
        block.imports.add("import torch.nn.functional as F")
    scale = " * ".join(scales)
    if meeting.form in ("addmm_", "torch.addmm"):
        _fused(block, meeting, roles, scale, base)
        return
    if meeting.form in ("add_ alpha", "torch.add"):
        if not scale or meeting.branch != "always":
            raise Incompatible("no number for alpha=")
        delta = _cast(meeting, _delta(block, meeting, roles, "", x), base)
        _add(block, meeting, base, delta, scale)
        return
    if meeting.branch == "always":
        delta = _delta(block, meeting, roles, scale, x)
        _add(block, meeting, base, _cast(meeting, delta, base), "")
        return
    if not scale:
        raise Incompatible("no scale to leave out")
    plain = _product(meeting, roles, x)
    if meeting.branch == "one branch only":
        block.line(f"delta = {plain}")
        block.line(f"if rescale:\n    delta = delta * {_atom(scale)}")
    else:
        wide = grouped(_product(meeting, {role: _double(value) for role, value in roles.items()}, x))
        plain = grouped(plain)
        factor = _atom(scale)
        block.line(f"if upcast:\n    delta = {wide} * {factor}\nelse:\n    delta = {plain} * {factor}")
    _add(block, meeting, base, _cast(meeting, "delta", base), "")


def _double(value: str) -> str:
    if value.endswith(".weight"):
        raise Incompatible("modules are not cast")
    return f"{value}.double()"


def _atom(scale: str) -> str:
    return scale if scale.replace(".", "").isidentifier() or " " not in scale else f"({scale})"


def _product(meeting: Meeting, roles: Roles, x: str) -> str:
    if meeting.kind == "forward":
        return meeting.product.of_x(roles, x)
    return meeting.product.in_weights(roles)


def _delta(block: Block, meeting: Meeting, roles: Roles, scale: str, x: str) -> str:
    """The expression of the scaled delta; statements before it are written."""
    factor = _atom(scale) if scale else ""
    if factor and meeting.placing in ("on B", "on A"):
        role = meeting.last if meeting.placing == "on B" else meeting.first
        if "_module" in meeting.product.forward and meeting.kind == "forward":
            if meeting.placing == "on B":
                raise Incompatible("a factor on a module")
            x = f"{x} * {factor}"
        else:
            roles = {**roles, role: f"({factor} * {roles[role]})"}
        factor = ""
    factors = {role: value for role, value in roles.items() if role in _roles_of(meeting.product)}
    plain = _product(meeting, roles, x)
    match meeting.delta:
        case "inline":
            delta = grouped(plain)
        case "local":
            block.line(f"delta = {plain}")
            delta = "delta"
        case "lambda":
            block.line(f"multiply = lambda: {plain}")
            delta = "multiply()"
        case "closure":
            block.line(f"def multiply():\n    return {plain}\n")
            delta = "multiply()"
        case "method" | "scaled method":
            return _by_method(block, meeting, plain, factor)
        case "helper" | "scaled helper" | "partial":
            return _by_helper(block, meeting, factors, factor, x)
        case other:
            raise AssertionError(other)
    return _scaled(block, meeting, delta, factor)


def _scaled(block: Block, meeting: Meeting, delta: str, factor: str) -> str:
    if not factor:
        return delta
    match meeting.placing:
        case "left":
            return f"{factor} * {delta}"
        case "in place":
            if delta != "delta":
                block.line(f"delta = {delta}")
            block.line(f"delta *= {factor}")
            return "delta"
        case "torch.mul":
            block.imports.add("import torch")
            return f"torch.mul({delta}, {factor})"
        case _:
            return f"{delta} * {factor}"


def grouped(text: str) -> str:
    """In parentheses, if anything could bind tighter than its operators."""
    depth = 0
    for letter in text:
        depth += (letter in "([") - (letter in ")]")
        if letter == " " and depth == 0:
            return f"({text})"
    return text


def _by_method(block: Block, meeting: Meeting, plain: str, factor: str) -> str:
    """Another method makes the delta, bare or scaled."""
    scaled = meeting.delta == "scaled method" and bool(factor)
    text = f"{grouped(plain)} * {factor}" if scaled else plain
    names = set(re.findall(r"(?<![\w.\"])[a-z_]\w*\b(?!\()", text)) - {"self", "torch", "math", "F"}
    if meeting.kind == "forward" or names or block.cls is None or "self." not in text:
        raise Incompatible("values of this function alone")
    name = "get_delta_weight"
    lines = ["", f"    def {name}(self):", f"        return {text}"]
    if f"    def {name}(self):" not in block.cls:
        block.cls += lines
    elif lines[-1] not in block.cls:
        raise Incompatible("two methods of one name")
    delta = f"self.{name}()"
    return delta if scaled else _scaled(block, meeting, delta, factor)


def _cast(meeting: Meeting, delta: str, base: str) -> str:
    place = "x" if meeting.kind == "forward" else base
    if base == "total" and place == base and meeting.cast != "none":
        raise Incompatible("a sum has no type yet")
    match meeting.cast:
        case "dtype":
            return f"{grouped(delta)}.to({place}.dtype)"
        case "reshape" if meeting.kind != "forward":
            return f"{grouped(delta)}.reshape({place}.shape)"
        case "type_as":
            return f"{grouped(delta)}.type_as({place})"
        case "none":
            return delta
        case _:
            raise Incompatible("no such cast")


def _roles_of(product: Product) -> set[str]:
    text = product.weight + product.forward
    return {role for role in FACTORS if f"{{{role}}}" in text}


def _by_helper(block: Block, meeting: Meeting, factors: Roles, factor: str, x: str) -> str:
    """A helper makes the product, bare or scaled."""
    if not factors:
        raise Incompatible("modules are not handed to helpers")
    short = {"A": "second", "B": "first"}
    names = {role: short.get(role, block.project.helper_word(role)) for role in factors}
    given = dict(zip(names.values(), factors.values(), strict=True))
    forward = meeting.kind == "forward"
    if forward:
        names_x = {"x": x}
        given = {**names_x, **given}
    inner = _product(meeting, names, "x")
    imports = list(meeting.product.imports)
    if forward and not meeting.product.forward:
        imports.append("import torch.nn.functional as F")
    scaled = meeting.delta == "scaled helper" and factor
    name = block.project.name("scaled_product" if scaled else "multiply")
    parameters = [*given, *(["factor"] if scaled else [])]
    result = f"{grouped(inner)} * factor" if scaled else inner
    block.helper(name, [f"def {name}({', '.join(parameters)}):", f"    return {result}"], *imports)
    if meeting.delta == "partial":
        block.imports.add("from functools import partial")
        head, *rest = given.values()
        block.line(f"product = partial({name}, {head})")
        return _scaled(block, meeting, f"product({', '.join(rest)})", factor)
    if scaled:
        return f"{name}({', '.join(given.values())}, factor={factor})"
    return _scaled(block, meeting, f"{name}({', '.join(given.values())})", factor)


def _add(block: Block, meeting: Meeting, base: str, delta: str, alpha: str) -> None:
    """Add the delta to its base; ``alpha`` is the number that the addition itself multiplies by."""
    kind, form = meeting.kind, meeting.form
    minus = kind == "unmerge"
    if alpha:
        alpha = f"-{_atom(alpha)}" if minus else alpha
        if form == "add_ alpha":
            block.line(f"{base}.add_({_bare(delta)}, alpha={alpha})", kind)
        else:
            block.imports.add("import torch")
            block.line(f"{base} = torch.add({base}, {_bare(delta)}, alpha={alpha})", kind)
        return
    sign = "-" if minus else "+"
    if form != "accumulated" and minus and " " in delta and not delta.endswith(")"):
        delta = f"({delta})"
    match form:
        case "accumulated":
            block.line(f"total += {_bare(delta)}", kind)
        case "returned" if kind in ("forward", "export"):
            block.line(f"return {base} + {delta}", kind)
        case "+=":
            block.line(f"{base} {sign}= {_bare(delta)}", kind)
        case "assigned":
            block.line(f"{base} = {base} {sign} {delta}", kind)
        case "add_":
            block.line(f"{base}.{'sub_' if minus else 'add_'}({_bare(delta)})", kind)
        case "copy_" if kind in ("merge", "unmerge"):
            block.line(f"{base}.copy_({base} {sign} {delta})", kind)
        case "sum first" if kind in ("merge", "unmerge"):
            block.line(f"merged = {base} {sign} {delta}", kind)
            block.line(f"{base}.copy_(merged)")
        case _:
            raise Incompatible("a form of another kind")


def _bare(delta: str) -> str:
    """Without parentheses around the whole."""
    if not (delta.startswith("(") and delta.endswith(")")):
        return delta
    depth = 0
    for index, letter in enumerate(delta):
        depth += (letter == "(") - (letter == ")")
        if depth == 0 and index < len(delta) - 1:
            return delta
    return delta[1:-1]


def _fused(block: Block, meeting: Meeting, roles: Roles, scale: str, base: str) -> None:
    """One call makes the product, scales it and adds it."""
    left, right = meeting.product.fused
    if not left or meeting.branch != "always" or meeting.kind == "forward":
        raise Incompatible("no such kernel")
    left, right = left.format(**roles), right.format(**roles)
    name = "baddbmm" if meeting.product.layout == "batched" else "addmm"
    sign = "-" if meeting.kind == "unmerge" else ""
    if not scale and sign:
        scale = "1"
    number = f", alpha={sign}{_atom(scale)}" if scale else ""
    if meeting.form == "addmm_":
        block.line(f"{base}.{name}_({left}, {right}{number})", meeting.kind)
        return
    block.imports.add("import torch")
    block.line(f"{base} = torch.{name}({base}, {left}, {right}{number})", meeting.kind)
