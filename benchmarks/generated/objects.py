"""Programs that keep values in an object: its constructor or setter, and the methods that apply."""

from __future__ import annotations

from benchmarks.generated.applications import apply
from benchmarks.generated.classes import Parts, put_class
from benchmarks.generated.code import Block, Incompatible, Roles
from benchmarks.generated.compose import Composer, bare, signature
from benchmarks.generated.programs import METHOD_SITES
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
    composer.project.late_setter = factors == "setter"
    parts = _keep(composer, factors, in_helpers=in_helpers, loaded=loaded)
    kinds = _kinds(composer)
    methods: list[str] = []
    if composer.site in METHOD_SITES:
        methods += _property(composer, parts.kept)
    if composer.strength == "set_scale":
        methods += _set_scale(composer, parts.kept)
    shared: list[str] = []
    for kind, scaled in kinds:
        methods += ["", *_method(composer, parts, kind, shared, scaled=scaled)]
    methods += shared
    put_class(composer, owner, factors, parts, methods)
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
        parameters = {composer.declared(role): f"t[{role!r}]" for role in roles}
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
        composer.strength == "in the scale" and composer.site in METHOD_SITES
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
    if composer.site == "scale method":
        return ["", "    def get_scale(self):", *block.lines]
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
    if kind == "forward" and form in ("copy_", "addmm_", "torch.addmm", "sum first", "accumulated"):
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
    if target == "total":
        _add_total(block, kind)
    if result:
        block.depth = 2
        block.line(f"return {result}")
    elif kind in ("forward", "export") and block.loops and target != "total":
        raise Incompatible("a return in a loop")
    elif composer["guard"] == "merged flag" and kind in ("merge", "unmerge"):
        block.depth = 2
        block.line(f"self.merged = {kind == 'merge'}")
    defaults = {**parameter, **(composer.branch_flags() if scaled else {})}
    head = signature(METHODS[kind], ["self", *(["x"] if kind == "forward" else [])], defaults)
    return [f"    {head}", *block.lines]


def _add_total(block: Block, kind: str) -> None:
    block.depth = 2
    match kind:
        case "forward":
            block.line("return self.base_layer(x) + total", kind)
        case "export":
            block.line("return self.base_layer.weight + total", kind)
        case _:
            block.line(f"self.base_layer.weight.data {'+' if kind == 'merge' else '-'}= total", kind)


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
    if form == "accumulated":
        block.line("total = 0")
        return "total", ""
    if kind in ("merge", "unmerge"):
        return "self.base_layer.weight.data", ""
    output = "self.base_layer(x)" if kind == "forward" else "self.base_layer.weight"
    if form == "returned":
        return output, ""
    block.line(f"result = {output}" if kind == "forward" else f"result = {output}.detach().clone()")
    return "result", "result"


def _driver(composer: Composer, factors: str, parts: Parts, loader: str) -> str:
    cls, knob = composer.project.naming.cls, composer.knob

    def given(parameters: dict[str, str], defaults: dict[str, str]) -> str:
        texts = [f"{bare(name)}={value}" for name, value in parameters.items()]
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
