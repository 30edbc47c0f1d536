"""Tensor names joined to modules: which tensor is which factor, alpha or magnitude of which layer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from lorascale_lint.adapters.header import Tensor
from lorascale_lint.knowledge import conventions


class Spelling(Enum):
    """How the two factors of a LoRA are called in a file."""

    DOWN_UP = conventions.DOWN_UP
    A_B = conventions.A_B
    NAMED_A_B = conventions.NAMED_A_B
    BARE_A_B = conventions.BARE_A_B
    SMALL_A_B = conventions.SMALL_A_B
    SMALL_A_B_WEIGHT = conventions.SMALL_A_B_WEIGHT
    LORA_DOWN_UP = conventions.LORA_DOWN_UP
    LAYER_DOWN_UP = conventions.LAYER_DOWN_UP
    PROCESSOR_DOWN_UP = conventions.PROCESSOR_DOWN_UP
    EMBEDDING = conventions.EMBEDDING
    IN_OUT = conventions.IN_OUT
    OTHER = conventions.Pair("", "")

    def __str__(self) -> str:
        return f"{self.value.down} / {self.value.up}"


@dataclass(slots=True)
class Factors:
    """The tensors of one module, by role. `ups` are all that B has: LongCat's has one for each branch.

    `twice` is a second tensor in a role that can be there once, as of two adapters in one file.
    """

    name: str
    spelling: Spelling = Spelling.OTHER
    keys: dict[str, str] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    numbers: dict[str, tuple[float, ...]] = field(default_factory=dict)
    ups: list[str] = field(default_factory=list)
    twice: str = ""

    def shape(self, role: str) -> tuple[int, ...] | None:
        """The shape of a tensor of the module, if it is there."""
        tensor = self.tensors.get(role)
        return None if tensor is None else tensor.shape

    def has(self, *roles: str) -> bool:
        """Whether all of these are there."""
        return all(role in self.tensors for role in roles)

    def number(self, role: str) -> float | None:
        """The value of a tensor of one number; the mean of more, as FastVideo takes it."""
        values = self.numbers.get(role)
        return None if not values else sum(values) / len(values)


# Last parts of a name -> role, spelling; names with something in the middle are taken apart in `split`.
_TAILS: dict[str, tuple[str, Spelling]] = {
    tail: (role, spelling)
    for spelling in Spelling
    for role, tail in (("down", spelling.value.down), ("up", spelling.value.up))
    if tail and "{" not in tail
}
_ROLES = """
    lora_mid.weight lora_E lora_B.bias lora_magnitude_vector lora_magnitude_vector.weight dora_scale magnitude
    alpha lora_alpha alpha_scale scale lora_rank
    hada_w1_a hada_w1_b hada_w2_a hada_w2_b hada_t1 hada_t2
    lokr_w1 lokr_w1_a lokr_w1_b lokr_w2 lokr_w2_a lokr_w2_b lokr_t2
    a1.weight a2.weight b1.weight b2.weight
    oft_blocks oft_diag oft_R oft_R.weight oft_r boft_R rescale scalar
    w_norm b_norm diff diff_b set_weight vera_lambda_b vera_lambda_d ia3_l
""".split()
_TAILS.update({role: (role.removesuffix(".weight"), Spelling.OTHER) for role in _ROLES})
_TAILS["ranknum"] = ("ranknum", Spelling.OTHER)

_PEFT_ROLES = {"lora_A": "down", "lora_B": "up", "lora_magnitude_vector": "lora_magnitude_vector"}
_EMBEDDING_ROLES = {"lora_embedding_A": "down", "lora_embedding_B": "up"}
_PROCESSOR = re.compile(r"(?:.*_lora\d*|lora\d*)")
_BLOCK = re.compile(r"(.+)\.lora_up\.blocks\.(\d{1,4})\.weight")
_LONGEST = 3

# With one of these a module is an adapter of its own. The rest (alpha, magnitude) only belongs to one.
CARRIERS = frozenset(
    "down up hada_w1_a hada_w1_b hada_w2_a hada_w2_b lokr_w1 lokr_w1_a lokr_w1_b lokr_w2 lokr_w2_a lokr_w2_b "
    "a1 a2 b1 b2 oft_blocks oft_diag oft_R oft_r boft_R w_norm b_norm diff diff_b set_weight "
    "vera_lambda_b ia3_l".split()
)
NUMBERS = frozenset({"alpha", "lora_alpha", "alpha_scale", "scale", "lora_rank"})


def split(name: str) -> tuple[str, str, Spelling] | None:
    """The module, role and spelling of a tensor's name; None if no known layout has such a name."""
    parts = name.split(".")
    for count in range(min(_LONGEST, len(parts) - 1), 0, -1):
        found = _TAILS.get(".".join(parts[-count:]))
        # The scale of a norm is a weight of the model.
        if found is not None and not (found[0] == "scale" and "norm" in parts[-2]):
            return ".".join(parts[:-count]), *found
    if len(parts) > 3 and parts[-1] == "weight":
        role = _PEFT_ROLES.get(parts[-3])
        if role is not None:
            return ".".join(parts[:-3]), role, Spelling.NAMED_A_B
        if parts[-2] in ("down", "up") and _PROCESSOR.fullmatch(parts[-3]):
            return ".".join(parts[:-2]), parts[-2], Spelling.PROCESSOR_DOWN_UP
    if len(parts) > 2 and (role := _EMBEDDING_ROLES.get(parts[-2])) is not None:
        return ".".join(parts[:-2]), role, Spelling.EMBEDDING
    if found_block := _BLOCK.fullmatch(name):
        return found_block[1], "up", Spelling.DOWN_UP
    return None


def _block(name: str) -> int:
    found = _BLOCK.fullmatch(name)
    return int(found[2]) if found else -1


def group(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Factors], list[str]]:
    """The modules of a file, and the names that are part of none."""
    modules: dict[str, Factors] = {}
    rest: list[str] = []
    for name, tensor in tensors.items():
        parts = split(name)
        if parts is None:
            rest.append(name)
            continue
        module, role, spelling = parts
        item = modules.setdefault(module, Factors(module))
        if spelling is not Spelling.OTHER:
            item.spelling = spelling
        if role == "up":
            item.ups.append(name)
        if role not in item.keys:
            item.keys[role] = name
            item.tensors[role] = tensor
        elif role != "up" or not (_BLOCK.fullmatch(name) and _BLOCK.fullmatch(item.keys[role])):
            item.twice = name
    for item in modules.values():
        if len(item.ups) > 1:
            item.ups.sort(key=_block)
    return modules, [name for name in rest if not _is_magnitude_of_mlx(name, modules, tensors)]


def _is_magnitude_of_mlx(name: str, modules: Mapping[str, Factors], tensors: Mapping[str, Tensor]) -> bool:
    # mlx-lm calls DoRA's magnitude `m`, which says nothing but beside its factors.
    item = modules.get(name.removesuffix(".m")) if name.endswith(".m") else None
    if item is None or item.spelling is not Spelling.SMALL_A_B:
        return False
    item.keys["magnitude"] = name
    item.tensors["magnitude"] = tensors[name]
    return True


def orphans(modules: Iterable[Factors]) -> list[Factors]:
    """Modules in which something has no partner: a factor without the other, an alpha without factors."""
    return [item for item in modules if item.has("down") != item.has("up") or not CARRIERS & item.keys.keys()]
