"""How a class is laid out: alone, over a base class, with a mixin, in a registry, as a kind of layer."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.generated.code import Block, Incompatible, Roles
from benchmarks.generated.compose import Composer, bare, signature


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


def put_class(composer: Composer, owner: str, factors: str, parts: Parts, methods: list[str]) -> None:
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
        names = [bare(item) for item in (*parts.setter_parameters, *parts.setter_defaults)]
        call = [f"        self.init_lora({', '.join(names)})"] if inside else []
        main = [f"class {cls}(nn.Module, {name}):", head, *start, *call, *methods]
    elif owner == "reset method":
        if not inside or factors == "made":
            raise Incompatible("nothing to reset")
        names = [bare(item) for item in (*parts.setter_parameters, *parts.setter_defaults)]
        main = [f"class {cls}(nn.Module):", *members, "", head, *start]
        main += [f"        self.reset_lora({', '.join(names)})", ""]
        main += [f"    {setter_head.replace('set_lora', 'reset_lora')}", *setter.lines, *methods]
    elif owner in ("base class", "super().__init__"):
        name = f"{cls}Base"
        setter.imports.add("from torch import nn")
        setter.helper(name, [f"class {name}(nn.Module):", *members, "", head, *keeping])
        main = [f"class {cls}({name}):"]
        if owner == "super().__init__":
            handed = ["base_layer", *(bare(item) for item in given)]
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
