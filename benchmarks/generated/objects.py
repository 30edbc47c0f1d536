"""Programs that keep values in an object: its constructor or setter, and the methods that apply."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.generated.applications import apply
from benchmarks.generated.code import Block, Incompatible, Roles
from benchmarks.generated.compose import Composer, signature
from benchmarks.generated.stores import LOOPED, SETTABLE, STORES, loop_header

METHODS = {"merge": "merge", "unmerge": "unmerge", "forward": "forward", "export": "merged_weight"}
IN_PLACE = (
    "+=",
    "assigned",
    "add_",
    "add_ alpha",
    "copy_",
    "torch.add",
    "addmm_",
    "torch.addmm",
    "sum first",
)


@dataclass
class Parts:
    """A class while it is written."""

    init: Block
    setter: Block
    kept: Roles
    setter_parameters: dict[str, str]
    setter_defaults: dict[str, str]
    init_parameters: dict[str, str]
    init_defaults: dict[str, str]


def write_class(composer: Composer, loader: str, loaded: Roles | None = None) -> tuple[str, list[str]]:
    """Write the class; the driver, and the kinds of its applications.

    ``loader`` is the driver's call that fills the layer from a file, with the roles ``loaded`` in hand;
    without one the driver gives the factors itself.
    """
    if composer.layout.bases == "batched":
        raise Incompatible("a layer of batched weights")
    owner = composer["owner"]
    inherits = owner in ("base class", "super().__init__", "mixin")
    in_helpers = inherits and composer["helpers"] != "same file"
    factors = "setter" if loader else composer["factors"]
    parts = _keep(composer, factors, in_helpers=in_helpers, loaded=loaded)
    kinds = _kinds(composer)
    methods: list[str] = []
    if composer.site == "property":
        methods += _property(composer, parts.kept)
    if composer.strength == "set_scale":
        methods += _set_scale(composer, parts.kept)
    shared: list[str] = []
    for kind, scaled in kinds:
        methods += ["", *_method(composer, parts, kind, shared, scaled=scaled)]
    methods += shared
    _put(composer, owner, factors, parts, methods)
    return _driver(composer, factors, parts, loader), [kind for kind, _ in kinds]


def _kinds(composer: Composer) -> list[tuple[str, bool]]:
    """Kinds of the methods, and whether each of them scales."""
    found = [(composer.kind, True)]
    match composer["sibling"]:
        case "unmerge" if composer.kind == "merge":
            found.append(("unmerge", True))
        case "forward" if composer.kind != "forward":
            found.append(("forward", True))
        case "unscaled unmerge" if composer.kind == "merge":
            found.append(("unmerge", False))
            composer.unscaled = "unmerge"
        case "none":
            pass
        case _:
            raise Incompatible("a sibling of the same kind")
    return found


def _keep(composer: Composer, factors: str, *, in_helpers: bool, loaded: Roles | None) -> Parts:
    project, knob = composer.project, composer.knob
    init, setter = (Block(project, depth=2, in_helpers=in_helpers, cls=[]) for _ in range(2))
    numbers = composer.numbers()
    roles: Roles = {}
    parameters: dict[str, str] = {}
    if factors == "made":
        if not composer.layout.empty or numbers.get("rank") is None:
            raise Incompatible("factors of an unknown rank")
        init.imports.add("import torch")
        setter.imports.add("import torch")
        for role, text in zip(composer.layout.roles, composer.layout.empty, strict=True):
            roles[role] = text.format(rank=numbers["rank"])
    else:
        roles = {role: project.word(role) for role in composer.layout.roles}
        parameters = {word: f"t[{role!r}]" for role, word in roles.items()}
    if loaded is None:
        roles |= numbers
        parameters |= composer.parameters(numbers)
    else:
        roles = {role: project.word(role) for role in loaded}
        parameters = dict.fromkeys(roles.values(), "")
    defaults: dict[str, str] = {}
    init_defaults: dict[str, str] = {}
    early = composer.site in ("early", "computed by a helper", "twice", "fold A", "fold B", "split")
    if composer.strength == "carried" or (composer.strength == "in the scale" and early):
        defaults[knob] = "1.0"
        composer.setter_takes_strength = True
    if composer.strength == "carried":
        roles["strength"] = knob
    if composer.trained.when_rslora is not None:
        (defaults if factors != "setter" else init_defaults)["use_rslora"] = "False"
        init.line("self.use_rslora = use_rslora")
    if composer.strength == "attribute" or (
        composer.strength == "in the scale" and composer.site == "property"
    ):
        init_defaults[knob] = "1.0"
        init.line(f"self.{knob} = {knob}")
    if loaded is None:
        roles = composer.travel(setter, roles, composer.program.before)
    before = dict(roles)
    flag = "self.use_rslora" if factors == "setter" else "use_rslora"
    roles = composer.early(setter, roles, flag)
    store = composer["store"]
    if store in ("setattr, getattr", "dict by adapter", "dict of adapters"):
        init.line('self.adapter = "default"')
    if store == "register_buffer" and "alpha" in roles and composer.trained.when_none is not None:
        raise Incompatible("None in a tensor")
    taken = set(project.helper_names)
    kept = STORES[store](setter, roles)
    if taken != set(project.helper_names):
        composer["helpers"]
    if composer.strength == "set_scale":
        if composer.site != "early" or store not in SETTABLE or "scale" not in kept:
            raise Incompatible("no scale to set")
        for role in ("alpha", "rank"):
            if role in before:
                setter.line(f"self.{project.word(role)} = {before[role]}")
                kept[f"old {role}"] = f"self.{project.word(role)}"
    return Parts(init, setter, kept, parameters, defaults, {}, init_defaults)


def _property(composer: Composer, kept: Roles) -> list[str]:
    if composer["store"] in LOOPED:
        raise Incompatible("a property of one of several adapters")
    block = Block(composer.project, depth=2)
    knob = f"self.{composer.knob}" if composer.strength == "in the scale" else ""
    block.line(f"return {composer.scale(block, kept, 'self.use_rslora', knob)}")
    return ["", "    @property", "    def current_scale(self):", *block.lines]


def _set_scale(composer: Composer, kept: Roles) -> list[str]:
    block = Block(composer.project, depth=2)
    roles = {role: value for role, value in kept.items() if not role.startswith("old ")}
    for role in ("alpha", "rank"):
        if f"old {role}" in kept:
            roles[role] = kept.pop(f"old {role}")
    text = composer.scale(block, roles, "self.use_rslora", "")
    text = f"({text})" if " if " in text else text
    block.line(f"{roles['scale']} = {composer.knob} * {text}")
    return ["", f"    def set_scale(self, {composer.knob}):", *block.lines]


def _method(composer: Composer, parts: Parts, kind: str, shared: list[str], *, scaled: bool) -> list[str]:
    block = Block(composer.project, depth=2, cls=shared)
    form = composer["form"]
    if kind != composer.kind and form not in IN_PLACE:
        form = "+="
    if kind == "forward" and form in ("copy_", "addmm_", "torch.addmm", "sum first"):
        if kind == composer.kind:
            raise Incompatible("a form of merges")
        form = "+="
    knob = _knob(composer, kind)
    parameter = {knob: "1.0"} if knob and not knob.startswith("self.") else {}
    roles = dict(parts.kept)
    _guard(composer, block, parts, kind)
    target, result = _target(block, kind, form)
    if composer["store"] in LOOPED:
        block.nest(loop_header(composer["store"], roles))
    if kind == composer.kind:
        roles = composer.travel(block, roles, composer.program.after)
    scales = composer.at_application(block, roles, "self.use_rslora", knob) if scaled else []
    x = _input(composer, parts, roles) if kind == "forward" else "x"
    apply(block, composer.meeting(kind, form), roles, scales, target, x)
    if result:
        block.depth = 2
        block.line(f"return {result}")
    elif kind in ("forward", "export") and block.loops:
        raise Incompatible("a return in a loop")
    elif composer["guard"] == "merged flag" and kind in ("merge", "unmerge"):
        block.depth = 2
        block.line(f"self.merged = {kind == 'merge'}")
    defaults = {**parameter, **(composer.branch_flags() if scaled else {})}
    head = signature(METHODS[kind], ["self", *(["x"] if kind == "forward" else [])], defaults)
    return [f"    {head}", *block.lines]


def _guard(composer: Composer, block: Block, parts: Parts, kind: str) -> None:
    """Write what ends the method early."""
    left = {"forward": "return self.base_layer(x)", "export": "return self.base_layer.weight"}.get(
        kind, "return"
    )
    match composer["guard"]:
        case "merged flag":
            line = "self.merged = False"
            if not any(line in text for text in parts.init.lines):
                parts.init.line(line)
            block.line(f"if {'not ' if kind == 'unmerge' else ''}self.merged:\n    {left}")
        case "early return":
            factor = next(iter(parts.kept.values()))
            if not factor.startswith("self.") or "[" in factor or "(" in factor:
                raise Incompatible("no factor to ask for")
            block.line(f"if {factor.removesuffix('.weight')} is None:\n    {left}")


def _input(composer: Composer, parts: Parts, roles: Roles) -> str:
    """The expression of the layer's input."""
    match composer["input"]:
        case "dropout":
            if "dropout" not in parts.init_defaults:
                parts.init_defaults["dropout"] = "0.0"
                parts.init.imports.add("from torch import nn")
                parts.init.line("self.lora_dropout = nn.Dropout(dropout)")
            return "self.lora_dropout(x)"
        case "cast":
            return f"x.to({next(iter(roles.values()))}.dtype)"
        case _:
            return "x"


def _knob(composer: Composer, kind: str) -> str:
    match composer.strength:
        case "argument" | "twice":
            pass
        case "in the scale" if composer.site in ("late", "inline") or not composer.trained.needs:
            pass
        case "attribute":
            return f"self.{composer.knob}"
        case _:
            return ""
    if kind == "forward":
        raise Incompatible("a forward takes no strength")
    return composer.knob


def _target(block: Block, kind: str, form: str) -> tuple[str, str]:
    """The place that the delta is added to, and what is returned at the end."""
    if kind in ("merge", "unmerge"):
        return "self.base_layer.weight.data", ""
    output = "self.base_layer(x)" if kind == "forward" else "self.base_layer.weight"
    if form == "returned":
        return output, ""
    block.line(f"result = {output}" if kind == "forward" else f"result = {output}.detach().clone()")
    return "result", "result"


def _put(composer: Composer, owner: str, factors: str, parts: Parts, methods: list[str]) -> None:
    """Lay the class out, with its base class, mixin or registry."""
    project, setter = composer.project, parts.setter
    cls = project.naming.cls
    inside = factors != "setter"
    setter_head = signature("set_lora", ["self", *parts.setter_parameters], parts.setter_defaults)
    given = list(parts.setter_parameters) if inside else []
    defaults = {**parts.init_defaults, **(parts.setter_defaults if inside else {})}
    head = f"    {signature('__init__', ['self', 'base_layer', *given], defaults)}"
    start = ["        super().__init__()", "        self.base_layer = base_layer", *parts.init.lines]
    keeping = [*start, *(setter.lines if inside else ["", f"    {setter_head}", *setter.lines])]
    members = setter.cls or []
    if owner == "mixin":
        if factors == "made":
            raise Incompatible("a mixin without the base layer")
        name = f"{cls}Mixin"
        mixed = setter_head.replace("set_lora", "init_lora") if inside else setter_head
        setter.helper(name, [f"class {name}:", *members, "", f"    {mixed}", *setter.lines])
        names = [item.partition(":")[0] for item in (*parts.setter_parameters, *parts.setter_defaults)]
        call = [f"        self.init_lora({', '.join(names)})"] if inside else []
        main = [f"class {cls}(nn.Module, {name}):", head, *start, *call, *methods]
    elif owner in ("base class", "super().__init__"):
        name = f"{cls}Base"
        setter.imports.add("from torch import nn")
        setter.helper(name, [f"class {name}(nn.Module):", *members, "", head, *keeping])
        main = [f"class {cls}({name}):"]
        if owner == "super().__init__":
            handed = ["base_layer", *(item.partition(":")[0] for item in given)]
            handed += [f"{item}={item}" for item in defaults]
            main += [head, f"        super().__init__({', '.join(handed)})"]
        main += methods
    else:
        main = [f"class {cls}(nn.Module):", *members, "", head, *keeping, *methods]
        if owner == "subclass of the layer":
            main = _as_subclass(composer, main)
    if setter.in_helpers and owner not in ("class", "registry"):
        project.helper_names.append(name)
    project.imports.add("from torch import nn")
    project.main += main
    if owner == "registry":
        project.main += ["", "", f'ADAPTERS = {{"lora": {cls}}}', "", ""]
        project.main += [
            "def build_layer(kind, *args, **kwargs):",
            "    return ADAPTERS[kind](*args, **kwargs)",
        ]


def _as_subclass(composer: Composer, lines: list[str]) -> list[str]:
    """The layer itself is the base: a subclass of ``nn.Linear``."""
    if composer.layout.bases != "linear":
        raise Incompatible("a subclass of another layer")
    composer.project.imports.add("from torch import nn")
    text = "\n".join(line for line in lines if line.strip() != "self.base_layer = base_layer")
    replaced = {
        "(nn.Module):": "(nn.Linear):",
        "(self, base_layer": "(self, in_features, out_features",
        "super().__init__()": "super().__init__(in_features, out_features, bias=False)",
        "self.base_layer(x)": "super().forward(x)",
        "self.base_layer.weight": "self.weight",
        "base_layer.in_features": "in_features",
        "base_layer.out_features": "out_features",
    }
    for old, new in replaced.items():
        text = text.replace(old, new)
    return text.split("\n")


def _driver(composer: Composer, factors: str, parts: Parts, loader: str) -> str:
    cls, knob = composer.project.naming.cls, composer.knob

    def given(parameters: dict[str, str], defaults: dict[str, str]) -> str:
        texts = [f"{name.partition(':')[0]}={value}" for name, value in parameters.items()]
        texts += [f"{name}={'strength' if name == knob else f'flags[{name!r}]'}" for name in defaults]
        return ", ".join(texts)

    inside = factors != "setter"
    made = given(
        parts.setter_parameters if inside else {},
        {
            **parts.init_defaults,
            **(parts.setter_defaults if inside else {}),
        },
    )
    build = (
        f"m.build_layer('lora', base, {made})"
        if composer["owner"] == "registry"
        else f"m.{cls}(base, {made})"
    )
    lines = [
        "def run(m, kind, t, W, x, alpha, rank, strength, flags):",
        "    base = base_of(W.clone())",
        f"    layer = {build}",
    ]
    if composer["owner"] == "subclass of the layer":
        lines[2] = f"    layer = {build.replace('(base, ', '(base.in_features, base.out_features, ')}"
        lines += ["    layer.weight.data.copy_(W)", "    base = layer"]
    if not inside:
        fill = loader or f"layer.set_lora({given(parts.setter_parameters, parts.setter_defaults)})"
        if composer["order"] == "switched":
            lines += [
                f"    {fill}".replace("t[", "other[")
                .replace("float(alpha)", "5.0")
                .replace("=alpha", "=5.0")
                .replace("=rank", "=rank + 2")
            ]
        lines.append(f"    {fill}")
    if factors == "made":
        for role in composer.layout.roles:
            if composer["store"] in LOOPED:
                raise Incompatible("new factors in a list")
            lines.append(f"    {parts.kept[role].replace('self', 'layer')}.data.copy_(t[{role!r}])")
    if composer.strength == "set_scale":
        lines.append("    if flags['set_scale']:\n        layer.set_scale(strength)")
    by_hand = composer.strength in ("argument", "twice") or (
        composer.strength == "in the scale" and knob not in {**parts.init_defaults, **parts.setter_defaults}
    )
    strength = f"{knob}=strength" if by_hand else ""
    flags = [f"{name}=flags[{name!r}]" for name in composer.branch_flags()]
    for kind, method in METHODS.items():
        call = ", ".join([*(["x"] if kind == "forward" else []), *([strength] if strength else []), *flags])
        if kind == composer.unscaled:
            call = strength
        if kind == "unmerge" and composer["guard"] == "merged flag":
            lines.append("    if kind == 'unmerge':\n        layer.merged = True")
        effects = {
            "merge": f"layer.{method}({call})\n        return base.weight - W",
            "unmerge": f"layer.{method}({call})\n        return W - base.weight",
            "forward": f"return layer({call}) - base_output(x, W)",
            "export": f"return layer.{method}({call}) - W",
        }
        lines.append(f"    if kind == {kind!r}:\n        {effects[kind]}")
    return "\n".join(lines) + "\n"
