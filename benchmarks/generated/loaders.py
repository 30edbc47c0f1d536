"""Programs that read an adapter's state dict: merged in the loop, through a call, or into layers."""

from __future__ import annotations

from benchmarks.generated.code import Block, Incompatible, Roles
from benchmarks.generated.compose import Composer, signature
from benchmarks.generated.functions import EFFECTS, apply_delta, arguments, callee, driver_of, knob_of
from benchmarks.generated.objects import write_class
from benchmarks.generated.readers import READERS


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
    if composer["numbers"] == "config patterns":
        for role in numbers:
            word, key = composer.project.word(role), {"alpha": "lora_alpha", "rank": "r"}[role]
            block.line(f'{word} = config["{role}_pattern"].get(name, config["{key}"])')
            numbers[role] = word
    return {**{role: roles[role] for role in composer.layout.roles}, **numbers}, suffixes


def _state_dict(suffixes: dict[str, str]) -> str:
    entries = [
        f"'blocks.0.proj{suffix}': " + ("torch.tensor(float(alpha))" if role == "alpha" else f"t[{role!r}]")
        for role, suffix in suffixes.items()
    ]
    return "{" + ", ".join(entries) + "}"


def file_shape(composer: Composer, *, calls: bool) -> str:
    knob = knob_of(composer)
    block = Block(composer.project)
    if composer.kind == "forward" or composer["form"] in ("returned", "accumulated"):
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
        call = callee(composer, block, roles, knob).format(base=base)
        block.line(f"{base} = {call}", composer.kind)
    else:
        apply_delta(composer, block, roles, base, knob)
    block.depth = 1
    block.line(f"return {'merged' if composer.kind == 'export' else holder}")
    defaults = {**({knob: "1.0"} if knob else {}), **composer.all_flags()}
    entry = "merge_adapter" if composer.kind != "unmerge" else "unmerge_adapter"
    composer.project.main += [signature(entry, list(given), defaults), *block.lines]
    call = f"m.{entry}({arguments(given, defaults, knob)})"
    place = "holder.get_submodule('blocks.0.proj').weight" if model else "result['blocks.0.proj']"
    effect = EFFECTS[composer.kind].replace("result", place)
    driver = driver_of(composer, call, effect)
    made = "holder = model_of(W.clone())" if model else "holder = {'blocks.0.proj': W.clone()}"
    return driver.replace("    result", f"    {made}\n    result", 1)


def file_to_object_shape(composer: Composer) -> tuple[str, list[str]]:
    block = Block(composer.project)
    roles, suffixes = _read(composer, block)
    given = {"layers": "{'blocks.0.proj': layer}", "state_dict": _state_dict(suffixes)}
    given |= {k: v for k, v in composer.parameters(composer.numbers()).items() if "config" in k}
    roles = composer.travel(block, roles, composer.program.before)
    call = f"m.load_adapter({arguments(given, {}, '')})"
    driver, marked = write_class(composer, call, roles)
    handed = [f"{composer.project.word(role)}={value}" for role, value in roles.items()]
    if composer.setter_takes_strength:
        raise Incompatible("a strength for each file")
    block.line(f"layers[name].set_lora({', '.join(handed)})")
    composer.project.main += ["", "", signature("load_adapter", list(given), {}), *block.lines]
    return driver, marked
