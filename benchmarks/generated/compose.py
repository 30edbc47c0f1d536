"""What all shapes of programs share: the numbers, the trained scale in its two scopes, and the formulas."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from benchmarks.generated.applications import Meeting
from benchmarks.generated.code import FACTORS, NAMINGS, Block, Incompatible, Mark, Project, Roles
from benchmarks.generated.products import LAYOUTS, PRODUCTS, Layout, Product
from benchmarks.generated.programs import METHOD_SITES, Program
from benchmarks.generated.scales import TRAINED, Formula, Scenario, Trained
from benchmarks.generated.ways import WAYS

FOLDS = ("fold B", "fold A", "split")


@dataclass(frozen=True, slots=True)
class Composed:
    """A program written out."""

    files: dict[str, str]
    marks: list[Mark]
    driver: str
    """Python that defines ``run(m, kind, t, W, x, alpha, rank, strength, **flags)``: what it adds."""
    layout: Layout
    scenarios: dict[str, list[Scenario]]
    """How each kind of application may run; the usual way first."""
    used: dict[str, str]
    """The choices that this program depends on."""


@dataclass
class Composer:
    """Writes one program; its shape (``shapes.py``) calls these parts in order."""

    program: Program
    used: dict[str, str] = field(default_factory=dict)
    setter_takes_strength: bool = False
    unscaled: str = ""
    """The kind of a sibling that forgets the scale."""

    def __post_init__(self) -> None:
        self.project = Project(NAMINGS[self["naming"]], self.program.choices["helpers"])
        self.project.layout = PRODUCTS[self["product"]].layout
        self.product: Product = PRODUCTS[self["product"]]
        self.layout: Layout = LAYOUTS[self.product.layout]
        self.trained: Trained = TRAINED[self["trained"]]
        self.shape = self["shape"]
        if self["naming"] == "comfy" and self.shape not in ("file", "file, call"):
            raise Incompatible("names that only a file's keys explain")
        self.kind = self["kind"]
        self.strength = self["strength"]
        self.site = self["site"] if self.trained.needs else "inline"
        if self["numbers"] == "config patterns" and not self.shape.startswith("file"):
            raise Incompatible("patterns without names of modules")
        if self.site == "twice" and (self.trained.when_rslora or self.trained.when_none):
            raise Incompatible("a branch in a square")
        if self.site == "twice" and self.strength == "in the scale":
            raise Incompatible("a strength that is squared by chance")

    def __getitem__(self, axis: str) -> str:
        value = self.program.choices[axis]
        self.used[axis] = value
        return value

    @property
    def knob(self) -> str:
        """The name of the strength."""
        return self.project.word("strength")

    # ---- numbers --------------------------------------------------------------------------

    def numbers(self) -> Roles:
        """Expressions of alpha and rank at the start, as the trained scale needs them."""
        roles: Roles = {}
        for role in self.trained.needs:
            if role == "rank" and self["rank from"] != "given":
                continue
            field_name = {"alpha": "lora_alpha", "rank": "r"}[role]
            match self["numbers"]:
                case "config dict" | "config patterns":
                    roles[role] = f'config["{field_name}"]'
                case "config object":
                    roles[role] = f"config.{field_name}"
                case _:
                    roles[role] = self.project.word(role)
        return roles

    def parameters(self, numbers: Roles) -> dict[str, str]:
        """Parameters as they are declared, and what the driver gives for each."""
        if not any("config" in value for value in numbers.values()):
            return {self.declared(role): role for role in numbers}
        made = "{'lora_alpha': alpha, 'r': rank}"
        if self["numbers"] == "config dict":
            return {"config": made}
        if self["numbers"] == "config patterns":
            patterns = "'alpha_pattern': {}, 'rank_pattern': {'blocks.0.proj': rank}"
            return {"config": f"{{'lora_alpha': alpha, 'r': rank + 1, {patterns}}}"}
        self.project.imports.add("from dataclasses import dataclass")
        self.project.define(
            ["@dataclass", "class LoraConfig:", "    r: int = 8", "    lora_alpha: float = 8.0"]
        )
        return {"config: LoraConfig": f"m.LoraConfig(**{made})"}

    def declared(self, role: str) -> str:
        """A parameter as a signature has it."""
        word, style = self.project.word(role), self["signature"]
        if role in FACTORS:
            self.project.imports.add("import torch")
            self.project.helper_imports.add("import torch")
            return f"{word}: torch.Tensor" if style in ("annotated", "both") else word
        typed = {"alpha": "float", "rank": "int"}.get(role, "float")
        if role == "alpha" and self.trained.when_none is not None:
            typed = "float | None"
        default = {"alpha": "16.0", "rank": "8"}.get(role, "1.0")
        match style:
            case "annotated":
                return f"{word}: {typed}"
            case "defaults":
                return f"{word}={default}"
            case "both":
                return f"{word}: {typed} = {default}"
            case _:
                return word

    # ---- the trained scale ----------------------------------------------------------------

    def scale(self, block: Block, roles: Roles, flag: str, knob: str, name: str = "") -> str:
        """The expression of the trained scale where ``roles`` are at hand.

        With a ``name`` it is assigned to that name, as a statement of its own, which is then returned.
        """
        alpha, rank = roles.get("alpha", ""), roles.get("rank", "")
        if "rank" in self.trained.needs and not rank:
            ranks = self.layout.ranks
            index = 1 if self["rank from"] == "another shape" else 0
            rank = ranks[index].format(**roles)
            if "zeros" in rank:
                raise Incompatible("the rank of a tensor that is made with it")
        if self.site == "computed by a helper":
            text = self._by_helper(block, {"alpha": alpha, "rank": rank}, flag)
        else:
            block.imports.update(self.trained.imports)
            if self.trained.before:
                local = self.project.word("alpha")
                if alpha != local:
                    block.line(f"{local} = {alpha}")
                alpha = local
                block.line(self.trained.before.format(a=alpha, r=rank))
            text = self.trained.write(alpha, rank, flag)
            if name and self.trained.otherwise is not None:
                condition, first, second = self.trained.otherwise
                block.line(
                    f"if {condition.format(a=alpha, f=flag)}:\n    {name} = {first(alpha, rank)}\n"
                    f"else:\n    {name} = {second(alpha, rank)}"
                )
                text = name
        if self.strength == "in the scale":
            if not knob:
                raise Incompatible("no strength at hand")
            text = f"{knob} * ({text})" if " if " in text else f"{knob} * {text}"
        if name and text != name:
            block.line(f"{name} = {text}")
        return name or text

    def _by_helper(self, block: Block, values: dict[str, str], flag: str) -> str:
        name = self.project.name("compute_scale")
        self["helpers"]
        parameters = list(self.trained.needs)
        given = [values[need] for need in parameters]
        if self.trained.when_rslora is not None:
            parameters.append("use_rslora")
            given.append(flag)
        inner = Block(self.project, lines=[signature(name, parameters, {})])
        if self.trained.before:
            inner.line(self.trained.before.format(a="alpha", r="rank"))
        if self.trained.otherwise is not None:
            condition, first, second = self.trained.otherwise
            inner.line(
                f"if {condition.format(a='alpha', f='use_rslora')}:\n    return {first('alpha', 'rank')}"
            )
            inner.line(f"return {second('alpha', 'rank')}")
        else:
            inner.line(f"return {self.trained.write('alpha', 'rank', 'use_rslora')}")
        block.helper(name, inner.lines, *self.trained.imports)
        return f"{name}({', '.join(given)})"

    def early(self, block: Block, roles: Roles, flag: str = "use_rslora") -> Roles:
        """What the first scope does with the scale; the roles that travel on."""
        if not self.trained.needs or self.site in ("late", "inline", *METHOD_SITES):
            return roles
        name = self.project.word("scale")
        knob = self.knob if self.strength == "in the scale" else ""
        self.scale(block, roles, flag, knob, name)
        if self.site == "twice":
            return {**roles, "scale": name}
        kept = {role: value for role, value in roles.items() if role not in ("alpha", "rank")}
        if self.site not in FOLDS:
            return {**kept, "scale": name}
        last, first = self.layout.roles[-1], self.layout.roles[0]
        sides = {"fold B": [last], "fold A": [first], "split": [first, last]}[self.site]
        factor = f"math.sqrt({name})" if self.site == "split" else name
        if self.site == "split":
            block.imports.add("import math")
        for role in sides:
            if "zeros" in kept[role]:
                raise Incompatible("a fold into new factors")
            block.line(f"{self.project.word(role)} = {kept[role]} * {factor}")
            kept[role] = self.project.word(role)
        return kept

    def travel(self, block: Block, roles: Roles, ways: tuple[str, ...]) -> Roles:
        """Send the values along the given ways."""
        for name in ways:
            if any("zeros" in value for value in roles.values()):
                raise Incompatible("factors that are made in place")
            before = set(self.project.helper_names)
            roles = WAYS[name](block, roles)
            if before != set(self.project.helper_names):
                self["helpers"]
            self.used[f"way: {name}"] = name
        return roles

    def at_application(self, block: Block, roles: Roles, flag: str, knob: str) -> list[str]:
        """The expressions that multiply the product where it is applied.

        ``knob`` is the strength at this place, empty if there is none.
        """
        found = []
        if not self.trained.needs:
            text = self.trained.write("", "", "")
            found += [text] if text else []
        elif self.site in ("late", "twice"):
            name = self.project.word("scale") if self.site == "late" else "ratio"
            found.append(self.scale(block, roles, flag, knob, name))
        elif self.site == "inline":
            found.append(f"({self.scale(block, roles, flag, knob)})")
        elif self.site == "property":
            found.append("self.current_scale")
        elif self.site == "scale method":
            found.append("self.get_scale()")
        if "scale" in roles:
            found.append(roles["scale"])
        if "strength" in roles:
            found.append(roles["strength"])
        elif knob and (self.strength != "in the scale" or not self.trained.needs):
            found += [knob] * (2 if self.strength == "twice" else 1)
        return found

    def meeting(self, kind: str, form: str) -> Meeting:
        """The choices of an application."""
        fused = form in ("addmm_", "torch.addmm")
        return Meeting(
            kind,
            form,
            "right" if fused else self["placing"],
            "inline" if fused else self["delta"],
            self["branch"],
            "none" if fused else self["cast"],
            self.product,
            self.layout.roles[-1],
            self.layout.roles[0],
        )

    def scenarios(self, kind: str) -> list[Scenario]:
        """How the application of one kind may run, by construction."""
        if kind == self.unscaled:
            return [replace(item, formula=self._stored(item.formula)) for item in self._trained_scenarios()]
        strength = Formula.of(strength={"none": 0, "twice": 2}.get(self.strength, 1))
        found = []
        for scenario in self._trained_scenarios():
            squared = scenario.formula * scenario.formula if self.site == "twice" else scenario.formula
            found.append(replace(scenario, formula=squared * strength))
        if self["branch"] == "one branch only":
            for scenario, plain in zip(list(found), self._trained_scenarios(), strict=True):
                kept = self._stored(plain.formula)
                settings = {**scenario.settings, "rescale": False}
                found.append(replace(scenario, formula=kept, settings=settings))
        if self.strength == "set_scale":
            found += [
                replace(item, settings={**item.settings, "set_scale": False}, required=False)
                for item in self._trained_scenarios()
            ]
        if self["branch"] == "both branches":
            found.append(replace(found[0], settings={"upcast": True}))
        return found

    def _trained_scenarios(self) -> list[Scenario]:
        from_file = self.shape.startswith("file") and self["numbers"] == "arguments"
        return [
            replace(item, runs=not (from_file and "alpha" in item.settings))
            for item in self.trained.scenarios()
        ]

    def _stored(self, trained: Formula) -> Formula:
        """What is left where the application itself doesn't scale."""
        if self.site not in FOLDS:
            return Formula()
        return trained * Formula.of(strength=1) if self.strength == "in the scale" else trained

    def all_flags(self) -> dict[str, str]:
        """Parameters of a function that choose a branch, with their defaults."""
        rslora = {"use_rslora": "False"} if self.trained.when_rslora is not None else {}
        return {**rslora, **self.branch_flags()}

    def branch_flags(self) -> dict[str, str]:
        """Parameters of the applying function that choose a branch."""
        return {"one branch only": {"rescale": "True"}, "both branches": {"upcast": "False"}}.get(
            self["branch"], {}
        )


def bare(declared: str) -> str:
    """The name of a parameter that is declared with a type or a default."""
    return re.split(r"[:=]", declared)[0].strip()


def signature(name: str, parameters: list[str], defaults: dict[str, str]) -> str:
    """The head of a function."""
    return f"def {name}({', '.join([*parameters, *(f'{key}={value}' for key, value in defaults.items())])}):"
