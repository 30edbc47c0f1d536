"""What a rewritten adapter will hold: every tensor with its new name, and the settings that state alpha."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lorascale_lint.adapters.adapter import Adapter
from lorascale_lint.adapters.factors import NUMBERS, Spelling
from lorascale_lint.adapters.floats import FLOATS, ITEM_SIZE, encoded
from lorascale_lint.adapters.module import Module
from lorascale_lint.adapters.products import block_diagonal
from lorascale_lint.adapters.rewriting.targets import AlphaPlace, Target
from lorascale_lint.adapters.tensors import Reader, stored_tensor
from lorascale_lint.adapters.writing import PlannedTensor, copied
from lorascale_lint.errors import InputError
from lorascale_lint.knowledge.conventions import METADATA_ALPHA
from lorascale_lint.knowledge.kinds import Kind

# What a convention puts before the names of the model.
_PREFIXES = {
    "peft": "base_model.model.",
    "peft-keys": "base_model.model.",
    "comfy": "diffusion_model.",
    "longcat": "lora___lorahyphen___",
    "diffusers": "transformer.",
    "diffusers-plain": "transformer.",
}
_FLAT = ("kohya", "lycoris")
_LOW_RANK = frozenset({Kind.LORA, Kind.CONV})
_LYCORIS = frozenset({Kind.LOHA, Kind.LOKR, Kind.FULL_LOKR})
# A scale multiplied into one of these multiplies the delta; a module has the first of them that it has.
_FOLDED = ("up", "hada_w1_a", "lokr_w1", "lokr_w1_a")
_MAGNITUDES = frozenset({"dora_scale", "lora_magnitude_vector", "magnitude"})
# LyCORIS' factors and core tensors are called the same everywhere.
_KEPT = frozenset(
    "lora_mid hada_w1_a hada_w1_b hada_w2_a hada_w2_b hada_t1 hada_t2 "
    "lokr_w1 lokr_w1_a lokr_w1_b lokr_w2 lokr_w2_a lokr_w2_b lokr_t2".split()
)
_EMBEDDING = {"down": "lora_embedding_A", "up": "lora_embedding_B"}
_METADATA = "lora_adapter_metadata"
# Rank times this is a float32.
_EXTREME = 1e30
# One alpha for the whole file: of a folded scale, and of fused branches taken as one, it would be untrue.
_STATEMENTS = (*METADATA_ALPHA, "ss_network_alpha", _METADATA)


@dataclass(frozen=True, slots=True)
class PlannedModule:
    """A module of the old file and what it will be: `trained` is its scale, `stated` that of the new file.

    What is not stated is multiplied into B.
    """

    module: Module
    name: str
    rank: int
    trained: float
    stated: float

    @property
    def alpha(self) -> float:
        """The alpha that gives the stated scale by alpha / rank."""
        return self.stated * self.rank


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole new adapter. `config` is what goes into adapter_config.json, if the convention has one."""

    target: Target
    modules: tuple[PlannedModule, ...]
    tensors: tuple[PlannedTensor, ...]
    metadata: Mapping[str, str]
    config: Mapping[str, Any] | None


def plan_rewrite(adapter: Adapter, target: Target, *, fold: bool, alpha: float | None = None) -> Plan:
    """The adapter as `target` writes it, its scale stated there, or multiplied into B with `fold`.

    `alpha` is that of the training, for modules of which the file does not state it. Raises InputError for
    what can't be rewritten without a guess.
    """
    path = adapter.source.path
    if adapter.broken:
        raise InputError(f"{path}: `{adapter.broken[0]}` is not whole, so nothing was written")
    modules = tuple(_plan_module(adapter, target, module, fold, alpha) for module in adapter.modules)
    tensors = [tensor for item in modules for tensor in _tensors(adapter, target, item)]
    tensors += [copied(adapter.source.header, name, name) for name in adapter.source.rest]
    names = Counter(tensor.name for tensor in tensors)
    if twice := [name for name, count in names.items() if count > 1]:
        raise InputError(f"{path}: two tensors would both be called `{twice[0]}`")
    metadata = dict(adapter.source.metadata)
    if fold or target.name != adapter.convention.name:
        metadata = {key: value for key, value in metadata.items() if key not in _STATEMENTS}
    config = _settings(modules, target) if target.place in (AlphaPlace.CONFIG, AlphaPlace.METADATA) else None
    if target.place is AlphaPlace.METADATA and config is not None:
        metadata[_METADATA] = json.dumps({target.prefix + key: value for key, value in config.items()})
        config = None
    return Plan(target, modules, tuple(tensors), metadata, config)


def _plan_module(
    adapter: Adapter, target: Target, module: Module, fold: bool, alpha: float | None
) -> PlannedModule:
    where = f"{adapter.source.path}: `{module.name}`"
    if module.kind in (Kind.FULL, Kind.FULL_LOKR) and target.place is AlphaPlace.TENSOR:
        scale = module.scale if module.scale is not None else 1.0
        return PlannedModule(module, _name(adapter, target, module), 1, scale, 1.0)
    plain = module.kind in _LOW_RANK and not module.tucker
    if not (plain or (target.place is AlphaPlace.TENSOR and module.kind in _LOW_RANK | _LYCORIS)):
        raise InputError(f"{where} is {module.kind}, for which {target.name} has no names")
    if not module.rank:
        raise InputError(f"{where} has no rank")
    if module.spelling is Spelling.EMBEDDING and target.place is not AlphaPlace.CONFIG:
        raise InputError(f"{where} is an embedding, and {target.name} has no name for it")
    if module.branches > 1 and len(module.factors.ups) != module.branches:
        raise InputError(f"{where} has several branches in A, and nothing says which rows of B are whose")
    trained = module.scale
    if module.assumed:
        if alpha is None:
            said = "alpha 0, a placeholder" if module.placeholder else "no alpha anywhere"
            raise InputError(f"{where} has {said}; say with --alpha what it was trained with")
        trained = alpha / module.rank
    if trained is None:
        raise InputError(f"{where} has no trained scale that could be written")
    if trained and not 1 / _EXTREME < abs(trained) < _EXTREME:
        raise InputError(f"{where} has a scale of {trained:.3g}, which is beyond float32")
    # As one block-diagonal B, fused branches have the rows of A as their rank.
    rank = module.rank * (1 if target.place is AlphaPlace.SCALE_TENSOR else module.branches)
    return PlannedModule(module, _name(adapter, target, module), rank, trained, 1.0 if fold else trained)


def _name(adapter: Adapter, target: Target, module: Module) -> str:
    source = adapter.convention.name
    if source == target.name or (target.name == "diffusers" and source == "diffusers-plain"):
        return module.name
    if source in _FLAT:
        raise InputError(
            f"{adapter.source.path}: `{module.name}` has lost its dots, so that only kohya can be written"
        )
    bare = module.name.removeprefix(_PREFIXES.get(source, ""))
    if source == "longcat":
        bare = bare.replace("___lorahyphen___", ".")
    return target.prefix + bare.replace(".", target.dot)


def _tensors(adapter: Adapter, target: Target, item: PlannedModule) -> Iterator[PlannedTensor]:
    module = item.module
    embedding = module.spelling is Spelling.EMBEDDING
    folded = next((role for role in _FOLDED if module.factors.has(role)), "")
    for role, key in module.factors.keys.items():
        tail = key[len(module.name) + 1 :]
        factor = item.trained / item.stated if role == folded and item.trained != item.stated else 1.0
        if role == "down":
            new = _EMBEDDING[role] if embedding else target.down
            yield _computed(adapter, [key], f"{item.name}.{new}")
        elif role == "up":
            ups = module.factors.ups
            new = _EMBEDDING[role] if embedding else target.up
            if len(ups) > 1 and target.place is AlphaPlace.SCALE_TENSOR:
                for index, up in enumerate(ups):
                    yield _computed(adapter, [up], f"{item.name}.lora_up.blocks.{index}.weight", factor)
            else:
                yield _computed(adapter, ups, f"{item.name}.{new}", factor)
        elif role in _MAGNITUDES and tail.removesuffix(".weight") != target.magnitude:
            raise InputError(f"{adapter.source.path}: {target.name} has another form of DoRA than `{tail}`")
        elif role in _MAGNITUDES or role in _KEPT or module.kind is Kind.FULL:
            yield _computed(adapter, [key], f"{item.name}.{tail}", factor)
        elif role not in NUMBERS:
            raise InputError(f"{adapter.source.path}: what `{key}` is multiplied by is not known")
    if module.kind in (Kind.FULL, Kind.FULL_LOKR):
        return
    if target.place is AlphaPlace.TENSOR:
        yield _number(f"{item.name}.{target.alpha_key}", item.alpha)
    elif target.place is AlphaPlace.SCALE_TENSOR:
        yield _number(f"{item.name}.{target.alpha_key}", item.stated)


def _number(name: str, value: float) -> PlannedTensor:
    # float32 whatever the factors are: bfloat16 has no odd alpha above 256.
    content = encoded(np.array(value, np.float32), "F32")
    return PlannedTensor(name, "F32", (), len(content), lambda _: content)


def _computed(adapter: Adapter, keys: Sequence[str], name: str, factor: float = 1.0) -> PlannedTensor:
    """A factor in its new form: transposed if need be, blocks on one diagonal, times `factor`."""
    transposed = adapter.convention.transposed
    if len(keys) == 1 and factor == 1 and not transposed:
        return copied(adapter.source.header, keys[0], name)
    stored = [stored_tensor(adapter.source.header, key) for key in keys]
    dtype, shape = stored[0].dtype, stored[0].shape
    if dtype not in FLOATS:
        raise InputError(f"{adapter.source.path}: `{keys[0]}` is {dtype}, which is not computed with")
    if len(keys) > 1:
        shape = sum(item.shape[0] for item in stored), sum(item.shape[1] for item in stored)
    elif transposed:
        shape = shape[::-1]

    def content(reader: Reader) -> bytes:
        values = [reader.whole(item) for item in stored]
        whole = block_diagonal(values) if len(values) > 1 else values[0]
        with np.errstate(all="ignore"):
            return encoded((whole.T if transposed else whole) * np.float32(factor), dtype)

    return PlannedTensor(name, dtype, shape, math.prod(shape) * ITEM_SIZE[dtype], content)


def _settings(modules: Sequence[PlannedModule], target: Target) -> dict[str, Any]:
    """adapter_config.json of PEFT: the most frequent rank and alpha, and patterns for the other modules."""
    ((rank, alpha), _), *_ = Counter((item.rank, item.alpha) for item in modules).most_common(1)
    bare = {item.name.removeprefix(target.prefix): item for item in modules}
    # PEFT's patterns also fit the ends of longer names unless they are anchored.
    pattern = {name: f"^{re.escape(name)}" for name in bare}
    return {
        "peft_type": "LORA",
        "r": rank,
        "lora_alpha": _whole(alpha),
        "target_modules": sorted(bare),
        "rank_pattern": {pattern[name]: item.rank for name, item in bare.items() if item.rank != rank},
        "alpha_pattern": {
            pattern[name]: _whole(item.alpha) for name, item in bare.items() if item.alpha != alpha
        },
        "use_rslora": False,
        "use_dora": any(item.module.dora for item in modules),
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "base_model_name_or_path": None,
        "task_type": None,
    }


def _whole(alpha: float) -> float | int:
    # PEFT's own configurations have whole alphas as integers, and some readers want them so.
    return int(alpha) if alpha.is_integer() else alpha
