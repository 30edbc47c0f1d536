"""The source text of a generated project while it is being written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

Roles = dict[str, str]
"""What carries each value at one place: an expression by role (``A``, ``alpha``, ``rank``, ``scale``)."""

FACTORS = ("A", "B", "w1_a", "w1_b", "w2_a", "w2_b", "k1", "k2_a", "k2_b")
"""Roles that are tensors; all others are numbers."""


class Incompatible(Exception):
    """These choices make no program that a person would write."""


@dataclass(frozen=True, slots=True)
class Naming:
    """How one family of projects calls things."""

    words: dict[str, str]
    cls: str
    down_key: str
    up_key: str
    alpha_key: str
    strength: str
    first_line: str = ""
    """A docstring that says LoRA, where no name does."""


_WIDE = {
    "w1_a": "hada_w1_a",
    "w1_b": "hada_w1_b",
    "w2_a": "hada_w2_a",
    "w2_b": "hada_w2_b",
    "k1": "lokr_w1",
    "k2_a": "lokr_w2_a",
    "k2_b": "lokr_w2_b",
}
_KOHYA_KEYS = (".lora_down.weight", ".lora_up.weight", ".alpha")
_PEFT_KEYS = (".lora_A.weight", ".lora_B.weight", ".lora_alpha")


def _words(down: str, up: str, alpha: str, rank: str, scale: str) -> dict[str, str]:
    return {**_WIDE, "A": down, "B": up, "alpha": alpha, "rank": rank, "scale": scale}


PLAIN_WORDS = {
    "A": "right",
    "B": "left",
    "scale": "factor",
    "w1_a": "first_left",
    "w1_b": "first_right",
    "w2_a": "second_left",
    "w2_b": "second_right",
    "k1": "outer",
    "k2_a": "inner_left",
    "k2_b": "inner_right",
    "alpha": "alpha",
    "rank": "rank",
}
"""What a file of helpers without a LoRA word calls things."""
WITH_A_LORA_WORD = ("same file", "other file")
"""The places of helpers that may say LoRA."""

NAMINGS = {
    "peft": Naming(
        _words("lora_A", "lora_B", "lora_alpha", "r", "scaling"), "LoraLinear", *_PEFT_KEYS, "strength"
    ),
    "kohya": Naming(
        _words("lora_down", "lora_up", "alpha", "lora_dim", "scale"),
        "LoRAModule",
        *_KOHYA_KEYS,
        "multiplier",
    ),
    "lower": Naming(
        _words("lora_a", "lora_b", "lora_alpha", "lora_rank", "scaling"),
        "LoRALinear",
        *_PEFT_KEYS,
        "lora_scale",
    ),
    "diffusers": Naming(
        _words("down", "up", "network_alpha", "rank", "scale"), "LoRALinearLayer", *_KOHYA_KEYS, "lora_scale"
    ),
    "short": Naming(_words("A", "B", "alpha", "r", "scaling"), "LoRALayer", *_PEFT_KEYS, "strength"),
    "weights": Naming(
        _words("down_weight", "up_weight", "alpha", "rank", "scale"), "LoRAPatch", *_KOHYA_KEYS, "multiplier"
    ),
    "bare": Naming(
        {
            **_words("down", "up", "alpha", "rank", "scale"),
            **{role: PLAIN_WORDS[role] for role in ("w1_a", "w1_b", "w2_a", "w2_b", "k1", "k2_a", "k2_b")},
        },
        "LowRankLayer",
        *_KOHYA_KEYS,
        "strength",
        '"""Layers for LoRA adapters."""',
    ),
    "comfy": Naming(
        _words("mat2", "mat1", "alpha", "dim", "scale"), "LoRAAdapter", *_KOHYA_KEYS, "strength_model"
    ),
}


@dataclass(frozen=True, slots=True)
class Mark:
    """Where an application stands, or the call that leads to it."""

    kind: str
    filename: str
    row: int


_MARK = re.compile(r"  #@(\w+)$")


@dataclass
class Project:
    """One or two files: the main one, and where helpers lie outside of it the file of helpers."""

    naming: Naming
    place: str
    """Where helpers lie: a value of the axis ``helpers``."""
    layout: str = "lora"
    late_setter: bool = False
    """Are factors given to an object after it was made?"""
    imports: set[str] = field(default_factory=set)
    top: list[str] = field(default_factory=list)
    main: list[str] = field(default_factory=list)
    helpers: list[str] = field(default_factory=list)
    helper_names: list[str] = field(default_factory=list)
    helper_imports: set[str] = field(default_factory=set)
    _taken: dict[str, int] = field(default_factory=dict)

    def word(self, role: str) -> str:
        """The name under which this project knows a role."""
        return self.naming.strength if role == "strength" else self.naming.words.get(role, role)

    def helper_word(self, role: str) -> str:
        """The name of a role in the place of helpers."""
        return self.word(role) if self.place in WITH_A_LORA_WORD else PLAIN_WORDS.get(role, role)

    def name(self, stem: str) -> str:
        """A name not used yet."""
        count = self._taken[stem] = self._taken.get(stem, 0) + 1
        return stem if count == 1 else f"{stem}_{count}"

    def define(self, lines: Sequence[str]) -> None:
        """Put a class or function before the main code, in the main file."""
        self.top += [*lines, "", ""]

    def helper(self, name: str, lines: Sequence[str], *imports: str) -> None:
        """Put a function or class where this project keeps helpers."""
        if self.place == "same file":
            self.imports.update(imports)
            self.define(lines)
            return
        self.helper_names.append(name)
        self.helper_imports.update(imports)
        self.helpers += [*lines, "", ""]

    def files(self) -> tuple[dict[str, str], list[Mark]]:
        """Source by path, and the places of the applications."""
        files: dict[str, str] = {}
        names = ", ".join(dict.fromkeys(self.helper_names))
        if self.helpers:
            text = _text(self.helper_imports, [], self.helpers)
            match self.place:
                case "other file":
                    files["lora_helpers.py"] = text
                    self.imports.add(f"from lora_helpers import {names}")
                case "plain file":
                    files["tensors.py"] = text
                    self.imports.add(f"from tensors import {names}")
                case "star import":
                    files["tensors.py"] = text
                    self.imports.add("from tensors import *")
                case "re-export":
                    files["common/tensors.py"] = text
                    files["common/__init__.py"] = f"from common.tensors import {names}\n"
                    self.imports.add(f"from common import {names}")
                case "conditional import":
                    files["tensors.py"] = text
                    self.imports.add(
                        f"try:\n    from fast_tensors import {names}\n"
                        f"except ImportError:\n    from tensors import {names}"
                    )
        files["layer.py"] = _text(self.imports, self.top, self.main, self.naming.first_line)
        marks = []
        for name, text in files.items():
            lines = text.splitlines()
            for row, line in enumerate(lines, 1):
                if found := _MARK.search(line):
                    marks.append(Mark(found[1], name, row))
            files[name] = "\n".join(_MARK.sub("", line) for line in lines) + "\n"
        return files, marks


def _text(imports: set[str], top: list[str], main: list[str], first_line: str = "") -> str:
    body = "\n".join([*top, *main])
    used = [item for item in imports if _bound(item) is None or re.search(rf"\b{_bound(item)}\b", body)]
    order = ("import", "from", "try")
    lines = [item for start in order for item in sorted(used) if item.startswith(start)]
    head = [first_line, ""] if first_line else []
    text = "\n".join([*head, *lines, "", "", body])
    text = re.sub(r"[ ]+\n", "\n", text)
    return re.sub(r"\n{4,}", "\n\n\n", text).strip("\n") + "\n"


def _bound(item: str) -> str | None:
    """The name that an import of one name binds; None for the others."""
    match item.split():
        case ["import", name] | ["import", _, "as", name] | ["from", _, "import", name] if name != "*":
            return name
        case _:
            return None


@dataclass
class Block:
    """The body of a function or method while it is written; ways may nest what follows in a loop."""

    project: Project
    depth: int = 1
    loops: int = 0
    """Loops around the current place."""
    in_helpers: bool = False
    """Does this body stand in the file of helpers?"""
    lines: list[str] = field(default_factory=list)
    cls: list[str] | None = None
    """Members of the class around, in a method: properties, class attributes, other methods."""

    @property
    def imports(self) -> set[str]:
        """The imports of the file in which this body stands."""
        return self.project.helper_imports if self.in_helpers else self.project.imports

    def define(self, lines: Sequence[str]) -> None:
        """Put a class or function before this one, in the same file."""
        if self.in_helpers:
            self.project.helpers += [*lines, "", ""]
        else:
            self.project.define(lines)

    def helper(self, name: str, lines: Sequence[str], *imports: str) -> None:
        """Put a function or class where this project keeps helpers."""
        if self.in_helpers:
            self.imports.update(imports)
            self.define(lines)
        else:
            self.project.helper(name, lines, *imports)

    def line(self, text: str, mark: str = "") -> None:
        """Add a statement; ``mark`` names the application that it is."""
        indent = "    " * self.depth
        marked = f"  #@{mark}" if mark else ""
        self.lines += [f"{indent}{part}" for part in text.split("\n")]
        self.lines[-1] += marked

    def nest(self, header: str) -> None:
        """Open a block in which all that follows stands."""
        self.line(header)
        self.depth += 1
        self.loops += header.startswith("for ")

    def local(self, role: str) -> str:
        """The name of the local variable for a role."""
        return self.project.word(role)
