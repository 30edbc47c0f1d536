"""Which tensor of a model an adapter's module belongs to: rules that the report shows, or one's own."""

from __future__ import annotations

import itertools
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lorascale_lint.adapters.tensors import Stored
from lorascale_lint.errors import InputError
from lorascale_lint.reading import read_regular

_WEIGHT = ".weight"
# As many leading parts of a name as wrappers add (`base_model.model.model.language_model.`).
_MOST_PARTS = 4
_KOHYA = re.compile(r"(?:lora_(?:unet|te\d?|prior|transformer)|lycoris|lora)_(.+)")
_LONGCAT = "___lorahyphen___"
_PROCESSOR = re.compile(r"(.+)\.processor\.(to_\w+?)_lora(\d*)")
_ROWS = re.compile(r"(.+)\[(\d+):(\d+)\]")
_LARGEST_MAP = 16 * 2**20

# Modules whose rows lie on one another in one tensor. Those that are interleaved by head are not among them.
FUSED = (
    (("q_proj", "k_proj", "v_proj"), ("qkv_proj", "qkv")),
    (("to_q", "to_k", "to_v"), ("to_qkv", "qkv")),
    (("q", "k", "v"), ("qkv",)),
    (("query", "key", "value"), ("qkv",)),
    (("gate_proj", "up_proj"), ("gate_up_proj",)),
)
EMBEDDINGS = ("embed_tokens", "wte", "tok_embeddings", "word_embeddings")
HEADS = ("lm_head", "output", "embed_out")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a module belongs: a tensor, by which rule, and which part of a fused tensor it is."""

    tensor: str
    rule: str
    part: int | None = None
    parts: int = 1
    rows: tuple[int, int] | None = None


class Names:
    """The names of a checkpoint's tensors, found by a part of them."""

    def __init__(self, tensors: Mapping[str, Stored]) -> None:
        self.tensors = tensors
        self.stems = {name.removesuffix(_WEIGHT): name for name in tensors}

    @cached_property
    def _by_end(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for stem in self.stems:
            parts = stem.split(".")
            for cut in range(1, min(len(parts), _MOST_PARTS + 1)):
                found.setdefault(".".join(parts[cut:]), []).append(stem)
        return found

    @cached_property
    def flat(self) -> dict[str, list[str]]:
        """Stems by their name with `_` for `.`."""
        found: dict[str, list[str]] = {}
        for stem in self.stems:
            found.setdefault(stem.replace(".", "_"), []).append(stem)
        return found

    def find(self, name: str) -> tuple[str, str] | None:
        """The stem that a dotted name means, and how it was found; None if none or several fit."""
        parts = name.split(".")
        for cut in range(min(len(parts), _MOST_PARTS + 1)):
            rest = ".".join(parts[cut:])
            if rest in self.stems:
                return rest, _rule(removed=".".join(parts[:cut]))
        for cut in range(min(len(parts), _MOST_PARTS + 1)):
            rest = ".".join(parts[cut:])
            # One part alone, such as `to_q`, is no evidence.
            ends = self._by_end.get(rest, []) if "." in rest else []
            if len(ends) == 1:
                added = ends[0].removesuffix(rest).rstrip(".")
                return ends[0], _rule(removed=".".join(parts[:cut]), added=added)
        return None

    def counterpart(self, name: str) -> str | None:
        """The tensor that a tensor of another file of the same model is called here."""
        if name in self.tensors:
            return name
        found = self.find(name.removesuffix(_WEIGHT))
        if found is None:
            return None
        other = self.stems[found[0]]
        return other if other.endswith(_WEIGHT) == name.endswith(_WEIGHT) else None


def _rule(removed: str = "", added: str = "", other: str = "") -> str:
    steps = [f"`{removed}.` removed"] if removed else []
    steps += [f"`{added}.` added"] if added else []
    steps += [other] if other else []
    return ", ".join(steps) or "the same name"


def place(name: str, names: Names) -> Place | None:
    """Where a module of an adapter belongs; None if no rule finds a tensor."""
    for spelled, rule in _spellings(name):
        found = names.find(spelled)
        if found is not None:
            return Place(names.stems[found[0]], _both(rule, found[1]))
        if fused := _fused(spelled, names):
            return Place(fused.tensor, _both(rule, fused.rule), fused.part, fused.parts)
    if found_flat := _KOHYA.fullmatch(name):
        stems = names.flat.get(found_flat[1], [])
        removed = name.removesuffix(found_flat[1])
        if len(stems) == 1:
            return Place(names.stems[stems[0]], f"`{removed}` removed, `_` for `.`")
    return None


def _both(first: str, second: str) -> str:
    return second if not first else first if second == "the same name" else f"{first}, {second}"


def _spellings(name: str) -> Iterator[tuple[str, str]]:
    if _LONGCAT in name:
        yield name.replace(_LONGCAT, ".").removeprefix("lora."), f"`{_LONGCAT}` for `.`"
        return
    yield name, ""
    if found := _PROCESSOR.fullmatch(name):
        output = ".0" if found[2] == "to_out" else ""
        yield f"{found[1]}.{found[2]}{output}", "`.processor` and `_lora` removed"


def _fused(name: str, names: Names) -> Place | None:
    before, dot, last = name.rpartition(".")
    for parts, wholes in FUSED:
        if not dot or last not in parts:
            continue
        for whole in wholes:
            found = names.find(f"{before}.{whole}")
            if found is not None:
                rule = ", ".join(f"`{part}`" for part in parts) + f" are rows of `{whole}`"
                return Place(names.stems[found[0]], _both(found[1], rule), parts.index(last), len(parts))
    return None


class OwnRules:
    """The rules of --map: a pattern with `*` for each text that is taken over, and the tensor it means."""

    def __init__(self, rules: Mapping[str, str]) -> None:
        self._rules = [(re.compile(_pattern(key)), key, value) for key, value in rules.items()]

    def place(self, name: str, names: Names) -> Place | None:
        """Where the first rule that fits puts a module; None if none fits.

        Raises InputError if the rule leads to a tensor that is not there.
        """
        for pattern, key, value in self._rules:
            found = pattern.fullmatch(name)
            if found is None:
                continue
            texts = found.groups()
            target = "".join(
                part + text for part, text in itertools.zip_longest(value.split("*"), texts, fillvalue="")
            )
            rows = None
            if ranged := _ROWS.fullmatch(target):
                target, rows = ranged[1], (int(ranged[2]), int(ranged[3]))
            tensor = target if target in names.tensors else names.stems.get(target)
            if tensor is None:
                raise InputError(f"--map: `{key}` puts `{name}` at `{target}`, which the base lacks")
            return Place(tensor, f"--map: `{key}` is `{value}`", rows=rows)
        return None


def _pattern(text: str) -> str:
    return "(.*)".join(re.escape(part) for part in text.split("*"))


def read_rules(path: Path) -> OwnRules:
    """The rules of a TOML or JSON file: one table of strings. Raises InputError if it is something else."""
    try:
        text = read_regular(path, _LARGEST_MAP).decode()
        found = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except RecursionError:
        raise InputError(f"{path}: nested too deeply") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise InputError(f'{path}: not a table of strings, as `"adapter.*.q" = "model.*.q_proj.weight"`')
    for key, value in found.items():
        if value.count("*") > key.count("*"):
            raise InputError(f"{path}: `{value}` has more `*` than `{key}`")
    return OwnRules(found)
