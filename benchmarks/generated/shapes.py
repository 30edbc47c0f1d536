"""The shapes of programs that are functions: where the application stands, and how the values reach it."""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import replace

from benchmarks.generated.applications import apply
from benchmarks.generated.code import Block, Incompatible, Roles
from benchmarks.generated.compose import Composed, Composer, signature
from benchmarks.generated.objects import write_class
from benchmarks.generated.programs import Program, draw
from benchmarks.generated.readers import READERS

PLAIN_WORDS = {
    "A": "right",
    "B": "left",
    "alpha": "amount",
    "rank": "size",
    "scale": "factor",
    "w1_a": "first_left",
    "w1_b": "first_right",
    "w2_a": "second_left",
    "w2_b": "second_right",
    "k1": "outer",
    "k2_a": "inner_left",
    "k2_b": "inner_right",
}
"""What a file of helpers without a LoRA word calls its parameters."""

ENTRIES = {
    "merge": "merge_lora",
    "unmerge": "unmerge_lora",
    "forward": "lora_forward",
    "export": "export_lora",
}
OUTPUTS = {"linear": "F.linear(x, weight)", "conv": "F.conv2d(x, weight)"}


def compose(program: Program) -> Composed:
    """Write a program; raises ``Incompatible`` where its choices don't go together."""
    composer = Composer(program)
    match composer.shape:
        case "function":
            driver, marked = _function(composer), [composer.kind]
        case "call":
            driver, marked = _call(composer), [composer.kind]
        case "object":
            driver, marked = write_class(composer, "")
        case "file, object":
            driver, marked = _file_to_object(composer)
        case _:
            driver, marked = _file(composer, calls="call" in composer.shape), [composer.kind]
    files, marks = composer.project.files()
    scenarios = {kind: composer.scenarios(kind) for kind in marked}
    return Composed(files, marks, driver, composer.layout, scenarios, composer.used)


def numbered(seed: int, number: int) -> tuple[Program, Composed]:
    """Program ``number`` of a seed, whatever was drawn before it."""
    source = random.Random(f"{seed}/{number}")
    while True:
        program = draw(source)
        with suppress(Incompatible):
            return program, compose(program)


def _knob(composer: Composer) -> str:
    """The strength as a parameter of a function; empty if it takes none."""
    if composer.strength in ("attribute", "set_scale") or composer.site == "property":
        raise Incompatible("state in a function")
    return "" if composer.strength == "none" else composer.knob


def _target(composer: Composer, block: Block) -> str:
    """The place that the delta is added to; its first value is written."""
    form = composer["form"]
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


def _end(composer: Composer, block: Block, target: str) -> None:
    if composer["form"] == "returned":
        if block.loops:
            raise Incompatible("a return in a loop")
        return
    block.depth = 1
    block.line(f"return {target}")


def _apply(
    composer: Composer, block: Block, roles: Roles, target: str, knob: str, flag: str = "use_rslora"
) -> None:
    roles = composer.travel(block, roles, composer.program.after)
    scales = composer.at_application(block, roles, flag, knob)
    apply(block, composer.meeting(composer.kind, composer["form"]), roles, scales, target)


def _head(composer: Composer) -> tuple[Roles, dict[str, str], dict[str, str], str]:
    """Roles, required parameters with the driver's values, optional ones with defaults, and the strength."""
    knob = _knob(composer)
    numbers = composer.numbers()
    factors = {role: composer.project.word(role) for role in composer.layout.roles}
    given = {"weight": "W"}
    if composer.kind == "forward":
        given = {"x": "x", **given}
    given |= {word: f"t[{role!r}]" for role, word in factors.items()}
    given |= composer.parameters(numbers)
    roles = {**factors, **numbers}
    defaults = {knob: "1.0"} if knob else {}
    if composer.strength == "carried":
        roles["strength"] = knob
    return roles, given, {**defaults, **composer.all_flags()}, knob


def _driver(composer: Composer, call: str, effect: str) -> str:
    return (
        "def run(m, kind, t, W, x, alpha, rank, strength, flags):\n"
        "    before = W.clone()\n"
        f"    result = {call}\n"
        f"    return {effect}\n"
    )


def _given(given: dict[str, str], defaults: dict[str, str], knob: str) -> str:
    parts = [f"{name.partition(':')[0]}={value}" for name, value in given.items()]
    parts += [f"{name}=strength" if name == knob else f"{name}=flags[{name!r}]" for name in defaults]
    return ", ".join(parts)


EFFECTS = {
    "merge": "result - before",
    "unmerge": "before - result",
    "export": "result - before",
    "forward": "result - base_output(x, before)",
}


def _function(composer: Composer) -> str:
    roles, given, defaults, knob = _head(composer)
    block = Block(composer.project)
    target = _target(composer, block)
    roles = composer.travel(block, roles, composer.program.before)
    roles = composer.early(block, roles)
    _apply(composer, block, roles, target, knob)
    _end(composer, block, target)
    entry = ENTRIES[composer.kind]
    composer.project.main += [signature(entry, list(given), defaults), *block.lines]
    return _driver(composer, f"m.{entry}({_given(given, defaults, knob)})", EFFECTS[composer.kind])


def _callee(composer: Composer, roles: Roles, knob: str) -> str:
    """Write the function that applies; its arguments at the call, the base as ``{base}``."""
    project = composer.project
    place = composer["helpers"]
    plain = composer["parameters"] == "plain words"
    naming = project.naming
    if plain:
        project.naming = replace(naming, words=PLAIN_WORDS, strength="amount_wanted")
    block = Block(project, in_helpers=place != "same file")
    words = {role: project.word(role) for role in roles}
    base = ["x", "weight"] if composer.kind == "forward" else ["weight"]
    flags = composer.all_flags()
    inner_knob = project.word("strength") if knob and "strength" not in roles else ""
    target = _target(composer, block)
    _apply(composer, block, words, target, inner_knob)
    _end(composer, block, target)
    name = "add_product" if plain else "apply_lora"
    parameters = [*base, *words.values(), *([inner_knob] if inner_knob else [])]
    if len(set(parameters)) < len(parameters):
        raise Incompatible("one name twice")
    block.helper(name, [signature(name, parameters, flags), *block.lines])
    if block.in_helpers:
        project.helper_names.append(name)
    project.naming = naming
    given = [*roles.values(), *([knob] if inner_knob else [])]
    given += [f"{flag}={flag}" for flag in flags]
    x = "x, " if composer.kind == "forward" else ""
    return f"{name}({x}{{base}}, {', '.join(given)})"


def _call(composer: Composer) -> str:
    roles, given, defaults, knob = _head(composer)
    block = Block(composer.project)
    roles = composer.travel(block, roles, composer.program.before)
    roles = composer.early(block, roles)
    call = _callee(composer, roles, knob).format(base="weight")
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
    return _driver(composer, f"m.{entry}({_given(given, defaults, knob)})", EFFECTS[composer.kind])


# ---- loaders ------------------------------------------------------------------------------


def _read(composer: Composer, block: Block) -> tuple[Roles, dict[str, str]]:
    """Loop over an adapter's modules; the roles in hand, and the suffix of each key."""
    if composer.layout.bases == "batched" or (
        ("rank" in composer.trained.needs and composer["rank from"] == "given")
        and composer["numbers"] == "arguments"
    ):
        raise Incompatible("no such file")
    naming = composer.project.naming
    numbers = composer.numbers()
    words = {role: f".{composer.project.word(role)}" for role in composer.layout.roles}
    known = {"A": naming.down_key, "B": naming.up_key}
    suffixes = {role: known.get(role, words[role]) for role in composer.layout.roles}
    from_file = "alpha" in numbers and composer["numbers"] == "arguments"
    if from_file:
        suffixes["alpha"] = naming.alpha_key
    roles = READERS[composer["reader"]](block, suffixes)
    if from_file:
        word = composer.project.word("alpha")
        block.line(f"{word} = {roles['alpha']}.item()")
        numbers["alpha"] = word
    return {**{role: roles[role] for role in composer.layout.roles}, **numbers}, suffixes


def _state_dict(suffixes: dict[str, str]) -> str:
    entries = [
        f"'blocks.0.proj{suffix}': " + ("torch.tensor(float(alpha))" if role == "alpha" else f"t[{role!r}]")
        for role, suffix in suffixes.items()
    ]
    return "{" + ", ".join(entries) + "}"


def _file(composer: Composer, *, calls: bool) -> str:
    knob = _knob(composer)
    block = Block(composer.project)
    if composer.kind == "forward" or composer["form"] == "returned":
        raise Incompatible("a loader that returns one output")
    model = composer["base"] == "submodule"
    holder = "model" if model else composer.project.name("weights")
    base = "model.get_submodule(name).weight.data" if model else "weights[name]"
    if composer.kind == "export":
        if model or calls:
            raise Incompatible("an export of modules")
        block.line("merged = {name: weight.clone() for name, weight in weights.items()}")
        base = "merged[name]"
    roles, suffixes = _read(composer, block)
    given = {holder: "holder", "state_dict": _state_dict(suffixes)}
    given |= {k: v for k, v in composer.parameters(composer.numbers()).items() if "config" in k}
    if composer.strength == "carried":
        roles["strength"] = knob
    roles = composer.travel(block, roles, composer.program.before)
    roles = composer.early(block, roles)
    if calls:
        call = _callee(composer, roles, knob).format(base=base)
        block.line(f"{base} = {call}", composer.kind)
    else:
        _apply(composer, block, roles, base, knob)
    block.depth = 1
    block.line(f"return {'merged' if composer.kind == 'export' else holder}")
    defaults = {**({knob: "1.0"} if knob else {}), **composer.all_flags()}
    entry = "merge_adapter" if composer.kind != "unmerge" else "unmerge_adapter"
    composer.project.main += [signature(entry, list(given), defaults), *block.lines]
    call = f"m.{entry}({_given(given, defaults, knob)})"
    place = "holder.get_submodule('blocks.0.proj').weight" if model else "result['blocks.0.proj']"
    effect = EFFECTS[composer.kind].replace("result", place)
    driver = _driver(composer, call, effect)
    made = "holder = model_of(W.clone())" if model else "holder = {'blocks.0.proj': W.clone()}"
    return driver.replace("    result", f"    {made}\n    result", 1)


def _file_to_object(composer: Composer) -> tuple[str, list[str]]:
    block = Block(composer.project)
    roles, suffixes = _read(composer, block)
    given = {"layers": "{'blocks.0.proj': layer}", "state_dict": _state_dict(suffixes)}
    given |= {k: v for k, v in composer.parameters(composer.numbers()).items() if "config" in k}
    roles = composer.travel(block, roles, composer.program.before)
    call = f"m.load_adapter({_given(given, {}, '')})"
    driver, marked = write_class(composer, call, roles)
    arguments = [f"{composer.project.word(role)}={value}" for role, value in roles.items()]
    if composer.setter_takes_strength:
        raise Incompatible("a strength for each file")
    block.line(f"layers[name].set_lora({', '.join(arguments)})")
    composer.project.main += ["", "", signature("load_adapter", list(given), {}), *block.lines]
    return driver, marked
