"""Which names mean what in LoRA code, and how sure that is.

A name is cut into words (``lora_A_weight`` is lora, a, weight), words that say nothing are dropped, and what is
left is looked up. A strong name carries its meaning alone; a weak one needs LoRA code around it, because
``alpha`` is also a blend factor, ``rank`` a process number and ``down`` a direction. The lists follow the
identifier counts over 23 LoRA repositories that the project started from.
"""

# ruff: noqa: E501
# The tables read best with one meaning a row.

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from functools import lru_cache

from lorascale_lint.knowledge.ranks_by_use import ranks_by_use
from lorascale_lint.sources.prefilter import may_hold_lora

A, B = "A", "B"
ALPHA, RANK, SCALING, STRENGTH = "alpha", "rank", "scaling", "strength"
GATE = "gate"
"""A scalar that the layer learns, like a factor."""
MULTIPLIER = "multiplier"
"""A number called scale: a strength or a whole scale, as whoever gives it knows."""
BASE, MAGNITUDE, KRONECKER, DIFF, DELTA = "base", "magnitude", "kronecker", "diff", "delta"
CORE = "core"
"""What lies between the factors of a decomposed convolution: LoCon's `lora_mid`, LoHa's t1 and t2."""

DROPOUT = "dropout"
"""The probability of a dropout; the correction by it is no scale."""

NUMBERS = frozenset({ALPHA, RANK, SCALING, STRENGTH, GATE, MULTIPLIER, DROPOUT})
STRENGTHS = (STRENGTH, MULTIPLIER)
"""What whoever uses an adapter chooses."""
FACTORS = frozenset({A, B})
NAMED = (ALPHA, RANK, SCALING, STRENGTH, MULTIPLIER, A, B, BASE, DELTA, MAGNITUDE, GATE)
"""What a project can say that one of its names is."""

_SILENT = frozenset(
    "weight weights sliced param params parameter stacked list cache buffer tensor tensors mat matrix layer layers "
    "proj kernel kernels q k v o qkv query key value out module modules data default per new old cur current local "
    "my full embedding tmp raw base packed cpu gpu dev device stack all mid fused cat concat concatenated linear "
    "shard merged fp32 fp16 bf16 f32 float t T l i j n ft each the this one single gate".split()
)
"""Words beside a factor's name that change nothing of its meaning."""

_SILENT_OF_NUMBERS = frozenset(
    "default new old cur current my per the this value list tensor tensors values all token".split()
)
"""Words beside a number's name: an `out_dim` is no `dim`."""

_LAYERS = frozenset("w1 w2 w3".split())
"""Layers of a gated block, as Llama calls them: `w1_A` is a factor of `w1`, and `w1_a` one of LoHa's."""

_NO_FACTOR = frozenset(
    "scale scales scaling scalings alpha alphas rank ranks name names key keys bias dtype shape shapes grad grads index "
    "indices idx ptr ptrs id ids path paths dim dims magnitude lr dropout config cfg size sizes count len length "
    "init initializer std norm norms type suffix prefix pattern file use has is num mask loss optimizer multiplier strength "
    "ratio device quantizer constraint regularizer axis stride strides spec specs".split()
)
"""Words that make a name something about a factor: ``lora_A_scale``, ``lora_b_bias``."""

_OF_DROPOUT = frozenset("dropout p rate prob probability".split())
"""How the name of a dropout's probability ends."""

_FLAGS = frozenset("use has is no with without enable set get check log print find count num len".split())
"""Words before a number's name that make it a flag, a function or something about the number."""

_SIDES = {"a": A, "down": A, "b": B, "up": B}
_STRONG_FACTORS = {
    "hada w1 b": A, "hada w2 b": A, "hada w1 a": B, "hada w2 a": B,
    "lokr w1 b": A, "lokr w2 b": A, "lokr w1 a": B, "lokr w2 a": B,
}  # fmt: skip
_WEAK_FACTORS = {
    "a": A, "down": A, "wa": A, "w a": A, "linear in": A, "a s": A, "mat a": A, "adapter a": A, "adapter down": A, "w1 b": A, "w2 b": A, "w1b": A, "w2b": A,
    "b": B, "up": B, "wb": B, "w b": B, "linear out": B, "b s": B, "mat b": B, "adapter b": B, "adapter up": B, "w1 a": B, "w2 a": B, "w1a": B, "w2a": B,
}  # fmt: skip
_STRONG = {
    "lora alpha": ALPHA, "lora alphas": ALPHA, "network alpha": ALPHA, "network alphas": ALPHA, "lora network alpha": ALPHA,
    "conv alpha": ALPHA, "lora linear alpha": ALPHA, "base alpha": ALPHA, "loraalpha": ALPHA, "modules alpha": ALPHA,
    "module alpha": ALPHA, "adapter alpha": ALPHA, "lora attn alpha": ALPHA,
    "lora rank": RANK, "lora r": RANK, "lora dim": RANK, "network dim": RANK, "lora network dim": RANK, "ranknum": RANK,
    "max lora rank": RANK, "lora ranks": RANK, "sd lora rank": RANK, "adapter rank": RANK, "lora rank max": RANK, "lokr dim": RANK,
    "lora attn dim": RANK, "modules dim": RANK, "network rank": RANK,
    "lora scaling": SCALING, "alpha scale": SCALING, "lora alpha scale": SCALING, "lora scaling factor": SCALING,
    "lora scalings": SCALING, "vllm lora scaling factor": SCALING,
    "lora strength": STRENGTH, "lora multiplier": STRENGTH, "lora multipliers": STRENGTH, "strength model": STRENGTH, "strength clip": STRENGTH,
    "adapter weights": STRENGTH, "lora strengths": STRENGTH, "adapter scale": STRENGTH, "unet multiplier": STRENGTH, "te multiplier": STRENGTH,
    "lora scale": MULTIPLIER, "lora scales": MULTIPLIER,
    "dora scale": MAGNITUDE, "lora magnitude vector": MAGNITUDE, "magnitude vector": MAGNITUDE, "dora magnitude": MAGNITUDE,
    "weight magnitude": MAGNITUDE, "lora magnitude": MAGNITUDE,
    "delta weight": DELTA, "weight delta": DELTA, "lora delta": DELTA, "diff weight": DELTA, "lora diff": DELTA, "updown": DELTA,
    "lora weight delta": DELTA, "delta w": DELTA, "lora update": DELTA, "get delta weight": DELTA, "get diff weight": DELTA,
    "calc updown": DELTA, "lora output": DELTA, "lora out": DELTA, "lora result": DELTA, "get lora delta": DELTA, "get weight delta": DELTA,
    "delta output": DELTA, "lora outputs": DELTA, "delta weights": DELTA, "compute delta": DELTA, "get delta": DELTA, "eval delta": DELTA, "calc delta": DELTA, "delta y": DELTA, "weight diff": DELTA,
    "lokr w1": KRONECKER, "lokr w2": KRONECKER,
}  # fmt: skip
_WEAK = {
    "alpha": ALPHA, "alphas": ALPHA, "alpha value": ALPHA, "linear alpha": ALPHA, "default alpha": ALPHA, "alpha pattern": ALPHA,
    "rank": RANK, "r": RANK, "dim": RANK, "ranks": RANK, "rank pattern": RANK, "rank dim": RANK, "low rank": RANK, "max rank": RANK,
    "scaling": SCALING, "scalings": SCALING, "scaling factor": SCALING, "scaling factors": SCALING,
    "coefficient": STRENGTH, "coeff": STRENGTH,
    "strength": STRENGTH, "multiplier": STRENGTH, "ratio": STRENGTH, "strengths": STRENGTH, "multipliers": STRENGTH, "model strength": STRENGTH,
    "scale": MULTIPLIER, "scales": MULTIPLIER, "scale factor": MULTIPLIER, "scale weight": MULTIPLIER, "s": MULTIPLIER, "gs": MULTIPLIER, "us": MULTIPLIER, "ds": MULTIPLIER, "qs": MULTIPLIER,
    "ks": MULTIPLIER, "vs": MULTIPLIER, "os": MULTIPLIER, "lora weight": STRENGTH, "adapter weight": STRENGTH, "lora ratio": STRENGTH,
    "delta": DELTA, "diff": DELTA,
    "magnitude": MAGNITUDE, "m": MAGNITUDE, "scalar": GATE, "gate": GATE, "gating": GATE, "gate scale": MULTIPLIER,
    "w1": KRONECKER, "w2": KRONECKER,
    "base": BASE, "weight": BASE, "kernel": BASE, "w": BASE, "base layer": BASE, "org module": BASE, "org weight": BASE, "orig weight": BASE, "base weight": BASE,
    "original weight": BASE, "original module": BASE, "original layer": BASE, "base output": BASE, "base out": BASE, "linear": BASE, "base model": BASE,
    "org forward": BASE, "orig forward": BASE, "original forward": BASE, "frozen weight": BASE, "pretrained": BASE, "base linear": BASE,
    "wrapped": BASE,
}  # fmt: skip

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


EXPLAINS_SCALE = frozenset(
    "scaled scale merged merge merging fused fuse folded fold gamma raw norm normalized dora magnitude quant "
    "quantized factor factors".split()
)
"""Words of a condition that may be why one of its branches has no scale of its own."""


_added: dict[str, str] = {}
_added_factors: list[re.Pattern[str]] = []


def add(names: Mapping[str, str]) -> None:
    """Let exact identifiers have these roles before any other, in place of those that were added before."""
    _added.clear()
    _added.update(names)
    factors = "|".join(re.escape(name) for name, role in names.items() if role in FACTORS)
    _added_factors[:] = [re.compile(rf"\b(?:{factors})\b")] if factors else []
    role_of.cache_clear()
    key_role.cache_clear()


def adds_factors() -> bool:
    """Does the project name factors of its own?"""
    return bool(_added_factors)


def names_added_factor(text: str) -> bool:
    """Is there a name in ``text`` that the project says to be a factor?"""
    return any(pattern.search(text) for pattern in _added_factors)


def may_hold_lora_code(source: bytes) -> bool:
    """Is there a word in ``source`` without which no rule can find anything, or one that the project added?"""
    return may_hold_lora(source) or (adds_factors() and names_added_factor(source.decode(errors="replace")))


@lru_cache(maxsize=50_000)
def words(name: str) -> tuple[str, ...]:
    """The lower-case words of an identifier; digits stay with the word in front of them."""
    found: list[str] = []
    for piece in _WORDS.findall(name):
        if piece.isdigit():
            if found and len(found[-1]) == 1:  # w1, a2
                found[-1] += piece
            continue
        found.append(piece.lower())
    return tuple(found)


@lru_cache(maxsize=50_000)
def role_of(name: str, lora_context: bool) -> str | None:
    """The role of what is called ``name``; weak names have one only with ``lora_context``."""
    if name in _added:
        return _added[name]
    parts = words(name)
    if not parts or len(name) > 60:
        return None
    joined = " ".join(parts)
    if "dropout" in parts and parts[-1] in _OF_DROPOUT:
        return DROPOUT
    strong = _STRONG.get(joined) or _STRONG_FACTORS.get(joined)
    if strong is not None:
        return strong
    for size in (3, 2):  # a prefix such as `q_` or `default_` in front, an ending such as `_weight` behind
        for table in (_STRONG, _STRONG_FACTORS):
            for start in range(max(0, len(parts) - size), -1, -1):
                found = table.get(" ".join(parts[start : start + size]))
                rest = (*parts[:start], *parts[start + size :])
                if found is not None and all(word in _SILENT for word in rest):
                    return found
    ending = _STRONG.get(" ".join(parts[-2:]))
    if ending in (ALPHA, RANK) and parts[-2] == "lora" and parts[0] not in _FLAGS:
        return ending  # a prefix of the project, as in `kt_lora_alpha`
    letters = {_SIDES[word] for word in parts if word in ("a", "b")}
    if parts[-1] in ("as", "bs"):  # lora_As: several of them
        letters = {_SIDES[parts[-1][0]]}
    sides = letters or {
        _SIDES[word] for word in parts if word in _SIDES
    }  # in lora_up_proj_A, up names the layer
    if (
        any(word in ("lora", "loras", "dora", "loraa", "lorab") for word in parts)
        and len(sides) == 1
        and not _NO_FACTOR.intersection(parts)
    ):
        return sides.pop()
    if joined in ("loraa", "lorab"):
        return A if joined == "loraa" else B
    if not lora_context:
        return None
    if len(parts) == 2 and len(parts[1]) == 1 and _WEAK.get(parts[0]) == STRENGTH:
        return STRENGTH  # `ratio_a`, `strength_b`: that of one of two
    if name.endswith(("_A", "_B")) and all(word in _LAYERS for word in parts[:-1]):
        return _SIDES[parts[-1]]
    weak = _WEAK.get(joined) or _WEAK_FACTORS.get(joined)
    if weak is not None:
        return weak
    kept = " ".join(word for word in parts if word not in _SILENT)
    number = " ".join(word for word in parts if word not in _SILENT_OF_NUMBERS)
    return _WEAK_FACTORS.get(kept) or (_WEAK.get(number) if number else None)


_OF_ADAPTERS = frozenset("lora loras dora adapter adapters hada lokr".split())


def widens(first: str, second: str) -> bool:
    """Do two layers lead up and then down again, as those of a feed-forward block? LoRA leads down first."""
    one, two = set(words(first)), set(words(second))
    return "up" in one and "down" in two and _OF_ADAPTERS.isdisjoint(one | two)


_BENDS = frozenset("norm layernorm rmsnorm ln act activation nonlinearity act_fn".split())


def bends(path: str) -> bool:
    """Is it a norm or an activation function by its name (``self.q_a_layernorm``, ``self.act_fn``)?"""
    last = path.rpartition(".")[2].removesuffix("()")
    return last in _BENDS or not _BENDS.isdisjoint(words(last)[-1:])


def is_bias(place: str) -> bool:
    """Is the place called a bias (``self.lora_bias``), or a change of one (``bias_diff``)?"""
    return "bias" in words(place.rpartition(".")[2])


def keeps_factors(cls: ast.ClassDef, source: str = "") -> bool:
    """Are the declared fields of a record those of an adapter, by the weak names of LoRA code?

    Alpha and the rank, or both factors and one of the two. ``source`` is that of the file, which may call
    the rank as it likes.
    """
    fields = [item.target for item in cls.body if isinstance(item, ast.AnnAssign)]
    names = {field.id for field in fields if isinstance(field, ast.Name)}
    roles = {role_of(name, True) for name in names}
    if ALPHA in roles and not names.isdisjoint(ranks_by_use(source)):
        return True
    return roles >= {ALPHA, RANK} or (roles >= FACTORS and not roles.isdisjoint((ALPHA, RANK, SCALING)))


_NO_LAYERS = frozenset(
    "max min in out hidden head inner target new old base linear global default lora network q k v".split()
)
"""Words before a rank or an alpha that name no kind of layer."""
_RANKS, _ALPHAS = frozenset({"rank", "dim", "r"}), frozenset({"alpha"})


@lru_cache(maxsize=50_000)
def layers_of(name: str) -> tuple[str, str] | None:
    """Role and kind of layer of a rank or an alpha: ``conv_dim`` is the rank of ``conv``, ``lora_alpha`` of none.

    None for what is called neither rank nor alpha.
    """
    parts = [word for word in words(name) if word not in ("lora", "network")]
    role = RANK if parts and parts[-1] in _RANKS else ALPHA if parts and parts[-1] in _ALPHAS else None
    if role is None:
        return None
    kind = [word for word in parts[:-1] if not word.isdigit()]
    return role, "" if not kind or kind[-1] in _NO_LAYERS else "_".join(kind)


_MAPPING_OF_TENSORS = re.compile(r"(?:Optional\[)?(?:\w+\.)*(?:dict|Dict|\w*Mapping|OrderedDict)\[.*Tensor\b")


def holds_tensors(annotation: str) -> bool:
    """Does an annotation say that something is a mapping of tensors, whatever it is called?"""
    return _MAPPING_OF_TENSORS.match(annotation) is not None


_MAPPING_OF_COUNTS = re.compile(r"(?i)(?:\w+\.)*(?:\w*dict|\w*mapping|counter)\[(?:[\w.]+, *)?(?:int|bool)\]")


def holds_counts(annotation: str) -> bool:
    """Does an annotation say that something is a dictionary of whole numbers, so that it is no file of tensors?"""
    return _MAPPING_OF_COUNTS.match(annotation) is not None


_LAYER_WORDS = frozenset("layer adapter branch".split())
_WHOLE_WORDS = frozenset(
    "linear dense conv embedding attention mlp block model config wrapper wrapped".split()
)


def gives_delta(name: str) -> bool:
    """Is a class out of sight, called so, a layer that gives the delta alone? `LoRALinear` has its base in it."""
    found = set(words(name))
    speaks = any(word in name.lower() for word in ("lora", "dora"))
    return speaks and not found.isdisjoint(_LAYER_WORDS) and found.isdisjoint(_WHOLE_WORDS)


METADATA_PREFIX = "ss_"
"""What kohya's trainer puts in front of its settings in a file's metadata: ``ss_network_alpha``."""
_NEUTRAL_PARTS = frozenset({"weight", "default", "data", "blocks", "value", "kernel", "lora", "processor"})


@lru_cache(maxsize=50_000)
def key_role(key: str) -> str | None:
    """The role of the tensor under ``key`` (or a part of one) in an adapter dictionary."""
    if len(key) > 200 or " " in key or key.startswith("-"):  # `--lora_scaling`: an option of a program
        return None
    for part in reversed([piece for piece in re.split(r"[.\[\]'\"*|]+", key) if piece]):
        if part in _NEUTRAL_PARTS or part.isdigit():
            continue
        name = re.split(r"(?:^|_)(?=lora_|hada_|lokr_|dora_)", part)[-1].removeprefix(METADATA_PREFIX)
        role = role_of(name, False)
        if role is None and part in (
            "alpha",
            "down",
            "up",
            "rank",
            "scale",
            "diff",
            "magnitude",
            "lora_scale",
            "A",
            "B",
            "a",
            "b",
        ):
            role = DIFF if part == "diff" else role_of(part, True)
        if role is None and name.endswith(("_alpha",)):
            role = ALPHA
        if role is None and name in ("w_norm", "b_norm", "diff_b"):
            role = DIFF
        return role
    return None


_WEIGHS = frozenset("gain amount blend intensity influence weights lam lmbda lambda mix decay".split())
_OF_TRAINING = frozenset(
    "alpha alphas rank ranks r dim scaling scale eps std norm mask bias dropout p sign signs direction".split()
)


def weighs(name: str) -> bool:
    """Is it by its name a number that a user picks, where it multiplies a delta?"""
    return not _WEIGHS.isdisjoint(words(name)[-1:])


def may_be_trained(name: str) -> bool:
    """May it be a part of the trained scale by its name, or none of what scales at all?"""
    return not _OF_TRAINING.isdisjoint(words(name))
