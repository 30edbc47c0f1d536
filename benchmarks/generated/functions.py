"""Programs that are functions: alone, with a call between, as a patch of a layer, over a module's table."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.generated.applications import apply
from benchmarks.generated.code import FACTORS, PLAIN_WORDS, Block, Incompatible, Roles
from benchmarks.generated.compose import Composer, bare, signature
from benchmarks.generated.programs import METHOD_SITES

ENTRIES = {
    "merge": "merge_lora",
    "unmerge": "unmerge_lora",
    "forward": "lora_forward",
    "export": "export_lora",
}
OUTPUTS = {"linear": "F.linear(x, weight)", "conv": "F.conv2d(x, weight)"}


def knob_of(composer: Composer) -> str:
    """The strength as a parameter of a function; empty if it takes none."""
    if composer.strength in ("attribute", "set_scale") or composer.site in METHOD_SITES:
        raise Incompatible("state in a function")
    return "" if composer.strength == "none" else composer.knob


def target_of(composer: Composer, block: Block) -> str:
    """The place that the delta is added to; its first value is written."""
    form = composer["form"]
    if form == "accumulated":
        block.line("total = 0")
        return "total"
    if composer.kind == "forward":
        if composer.layout.bases not in OUTPUTS:
            raise Incompatible("no forward of this base")
        block.imports.add("import torch.nn.functional as F")
        output = OUTPUTS[composer.layout.bases]
        if form == "returned":
            return output
        block.line(f"result = {output}")
        return "result"
    if composer.kind == "export" and form != "returned":
        block.line("result = weight.clone()")
        return "result"
    return "weight"


def end(composer: Composer, block: Block, target: str) -> None:
    if composer["form"] == "returned":
        if block.loops:
            raise Incompatible("a return in a loop")
        return
    block.depth = 1
    if target == "total":
        output = "weight"
        if composer.kind == "forward":
            if composer.layout.bases not in OUTPUTS:
                raise Incompatible("no forward of this base")
            block.imports.add("import torch.nn.functional as F")
            output = OUTPUTS[composer.layout.bases]
        block.line(f"return {output} {'-' if composer.kind == 'unmerge' else '+'} total", composer.kind)
        return
    block.line(f"return {target}")


def apply_delta(
    composer: Composer, block: Block, roles: Roles, target: str, knob: str, flag: str = "use_rslora"
) -> None:
    roles = composer.travel(block, roles, composer.program.after)
    scales = composer.at_application(block, roles, flag, knob)
    x = _input(composer, roles)
    apply(block, composer.meeting(composer.kind, composer["form"]), roles, scales, target, x)


def head_of(composer: Composer) -> tuple[Roles, dict[str, str], dict[str, str], str]:
    """Roles, required parameters with the driver's values, optional ones with defaults, and the strength."""
    knob = knob_of(composer)
    numbers = composer.numbers()
    factors = {role: composer.project.word(role) for role in composer.layout.roles}
    given = {"weight": "W"}
    if composer.kind == "forward":
        given = {"x": "x", **given}
    given |= {composer.declared(role): f"t[{role!r}]" for role in factors}
    given |= composer.parameters(numbers)
    roles = {**factors, **numbers}
    defaults = {knob: "1.0"} if knob else {}
    if composer.strength == "carried":
        roles["strength"] = knob
    return roles, given, {**defaults, **composer.all_flags()}, knob


def _input(composer: Composer, roles: Roles) -> str:
    if composer.kind != "forward":
        return "x"
    match composer["input"]:
        case "x":
            return "x"
        case "cast":
            return f"x.to({next(iter(roles.values()))}.dtype)"
        case _:
            raise Incompatible("a dropout that nobody made")


def driver_of(composer: Composer, call: str, effect: str) -> str:
    return (
        "def run(m, kind, t, W, x, alpha, rank, strength, flags):\n"
        "    before = W.clone()\n"
        f"    result = {call}\n"
        f"    return {effect}\n"
    )


def arguments(given: dict[str, str], defaults: dict[str, str], knob: str) -> str:
    parts = [f"{bare(name)}={value}" for name, value in given.items()]
    parts += [f"{name}=strength" if name == knob else f"{name}=flags[{name!r}]" for name in defaults]
    return ", ".join(parts)


EFFECTS = {
    "merge": "result - before",
    "unmerge": "before - result",
    "export": "result - before",
    "forward": "result - base_output(x, before)",
}


def function_shape(composer: Composer) -> str:
    roles, given, defaults, knob = head_of(composer)
    block = Block(composer.project)
    target = target_of(composer, block)
    roles = composer.travel(block, roles, composer.program.before)
    roles = composer.early(block, roles)
    apply_delta(composer, block, roles, target, knob)
    end(composer, block, target)
    entry = ENTRIES[composer.kind]
    composer.project.main += [signature(entry, list(given), defaults), *block.lines]
    return driver_of(composer, f"m.{entry}({arguments(given, defaults, knob)})", EFFECTS[composer.kind])


def callee(composer: Composer, block: Block, roles: Roles, knob: str) -> str:
    """Write the function that applies; the call of it, with ``{base}`` for the base."""
    project = composer.project
    place = composer["helpers"]
    plain = composer["parameters"] == "plain words"
    naming = project.naming
    if plain:
        project.naming = replace(naming, words=PLAIN_WORDS, strength="multiplier")
    inner = Block(project, in_helpers=place != "same file")
    words = {role: project.word(role) for role in roles}
    base = ["x", "weight"] if composer.kind == "forward" else ["weight"]
    flags = composer.all_flags()
    inner_knob = project.word("strength") if knob and "strength" not in roles else ""
    call, parameters, taken = _passed(composer, block, inner, roles, words)
    target = target_of(composer, inner)
    apply_delta(composer, inner, taken, target, inner_knob)
    end(composer, inner, target)
    name = "add_product" if plain else "apply_lora"
    parameters = [*base, *parameters, *([inner_knob] if inner_knob else [])]
    if len(set(parameters)) < len(parameters):
        raise Incompatible("one name twice")
    inner.helper(name, [signature(name, parameters, flags), *inner.lines])
    if inner.in_helpers:
        project.helper_names.append(name)
    project.naming = naming
    given = [call, *([f"{inner_knob}={knob}"] if inner_knob else [])]
    given += [f"{flag}={flag}" for flag in flags]
    x = "x, " if composer.kind == "forward" else ""
    return f"{name}({x}{{base}}, {', '.join(given)})"


def _passed(
    composer: Composer, outer: Block, inner: Block, roles: Roles, words: Roles
) -> tuple[str, list[str], Roles]:
    """The arguments of the call, the parameters, and how these give the values."""
    listed = ", ".join(roles.values())
    entries = ", ".join(f'"{words[role]}": {value}' for role, value in roles.items())
    match composer["passing"]:
        case "positional":
            return listed, list(words.values()), words
        case "keyword":
            given = ", ".join(f"{words[role]}={value}" for role, value in roles.items())
            return given, list(words.values()), words
        case "star list":
            outer.line(f"arguments = [{listed}]")
            return "*arguments", list(words.values()), words
        case "star dict":
            outer.line(f"options = {{{entries}}}")
            return "**options", list(words.values()), words
        case "one object":
            fields = [
                f"    {word}: {'torch.Tensor' if r in FACTORS else 'float'}" for r, word in words.items()
            ]
            inner.helper("Weights", ["@dataclass", "class Weights:", *fields])
            inner.imports.update(("from dataclasses import dataclass", "import torch"))
            if inner.in_helpers:
                composer.project.helper_names.append("Weights")
            return (
                f"Weights({listed})",
                ["item: Weights"],
                {role: f"item.{word}" for role, word in words.items()},
            )
        case "one dict":
            taken = {role: f'item["{word}"]' for role, word in words.items()}
            return f"{{{{{entries}}}}}", ["item"], taken
        case "one tuple":
            inner.line(f"{', '.join(words.values())} = item")
            return f"({listed})", ["item"], words
        case other:
            raise AssertionError(other)


def call_shape(composer: Composer) -> str:
    roles, given, defaults, knob = head_of(composer)
    block = Block(composer.project)
    roles = composer.travel(block, roles, composer.program.before)
    roles = composer.early(block, roles)
    call = callee(composer, block, roles, knob).format(base="weight")
    if block.loops:
        block.line(f"weight = {call}", composer.kind)
        if composer.kind in ("forward", "export"):
            raise Incompatible("a return in a loop")
        block.depth = 1
        block.line("return weight")
    else:
        block.line(f"return {call}", composer.kind)
    entry = ENTRIES[composer.kind]
    composer.project.main += [signature(entry, list(given), defaults), *block.lines]
    return driver_of(composer, f"m.{entry}({arguments(given, defaults, knob)})", EFFECTS[composer.kind])


def patched_shape(composer: Composer) -> str:
    """A function that replaces the forward of a layer, or hooks into it."""
    if composer.kind != "forward" or composer.layout.bases == "batched":
        raise Incompatible("a patch is a forward")
    roles, given, defaults, knob = head_of(composer)
    given = {"layer": "layer", **{k: v for k, v in given.items() if k not in ("x", "weight")}}
    outer = Block(composer.project)
    roles = composer.travel(outer, roles, composer.program.before)
    roles = composer.early(outer, roles)
    roles = composer.travel(outer, roles, composer.program.after)
    if outer.loops:
        raise Incompatible("patches in a loop")
    scales = composer.at_application(outer, roles, "use_rslora", knob)
    hook = composer.shape == "hook"
    outer.line("" if hook else "original = layer.forward\n")
    outer.nest("def hook(module, args, output):" if hook else "def forward(x):")
    if hook:
        outer.line("x = args[0]")
    output, form = ("output" if hook else "original(x)"), composer["form"]
    if form == "accumulated":
        raise Incompatible("one delta alone")
    if form != "returned":
        outer.line(f"result = {output}")
        output = "result"
    apply(outer, composer.meeting("forward", form), roles, scales, output, _input(composer, roles))
    if form != "returned":
        outer.line("return result")
    outer.depth = 1
    outer.line("\nlayer.register_forward_hook(hook)" if hook else "\nlayer.forward = forward")
    outer.line("return layer")
    composer.project.main += [signature("patch_with_lora", list(given), defaults), *outer.lines]
    call = f"m.patch_with_lora({arguments(given, defaults, knob)})"
    return driver_of(composer, f"{call}(x)", EFFECTS["forward"]).replace(
        "    result", "    layer = base_of(W.clone())\n    result", 1
    )


def module_state_shape(composer: Composer) -> str:
    """Adapters are registered in a dictionary of the module, and applied by name."""
    roles, given, defaults, knob = head_of(composer)
    if composer.strength == "in the scale" and composer.site not in ("late", "inline"):
        raise Incompatible("a strength in the registry")
    project = composer.project
    registered = {k: v for k, v in given.items() if k not in ("x", "weight")}
    first = Block(project)
    roles = composer.travel(first, roles, composer.program.before)
    flags = {name: value for name, value in defaults.items() if name == "use_rslora"}
    roles = composer.early(first, roles)
    if first.loops:
        raise Incompatible("a registry in a loop")
    words = {role: project.word(role) for role in roles}
    second = Block(project)
    if composer["passing"] == "one dict":
        entries = ", ".join(f'"{words[role]}": {value}' for role, value in roles.items())
        first.line(f"LORAS[name] = {{{entries}}}")
        second.line("entry = LORAS[name]")
        taken = {role: f'entry["{word}"]' for role, word in words.items()}
    else:
        first.line(f"LORAS[name] = ({', '.join(roles.values())})")
        second.line(f"{', '.join(words.values())} = LORAS[name]")
        taken = words
    early = composer.site not in ("late", "inline")
    carried = {knob: "1.0"} if composer.strength == "carried" else {}
    base = {k: v for k, v in given.items() if k in ("x", "weight")}
    target = target_of(composer, second)
    apply_delta(composer, second, taken, target, knob)
    end(composer, second, target)
    own = {k: v for k, v in defaults.items() if k not in carried and not (early and k in flags)}
    entry = ENTRIES[composer.kind]
    head = {**carried, **(flags if early else {})}
    project.main += [
        "LORAS = {}",
        "",
        "",
        signature("register_lora", ["name", *registered], head),
        *first.lines,
    ]
    project.main += ["", "", signature(entry, ["name", *base], own), *second.lines]
    call = f"m.{entry}('proj', {arguments(base, own, knob)})"
    return driver_of(composer, call, EFFECTS[composer.kind]).replace(
        "    result", f"    m.register_lora('proj', {arguments(registered, head, knob)})\n    result", 1
    )
