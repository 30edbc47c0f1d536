"""FastVideo (0.1.2 to 0.2.1 and what is patched from them).

Importable only in the child: `prepare` imports torch and the target (`fastvideo_import`).
"""

from __future__ import annotations

import collections
import importlib
import inspect
import os
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from lorascale_lint.verify.arrays import device_in_use, framework
from lorascale_lint.verify.drivers.fastvideo_import import HOST_RESIDENT, PACKAGE, Importer
from lorascale_lint.verify.drivers.fastvideo_layers import (
    FastVideoLayer,
    Weights,
    array_of,
    fill,
    own_part,
    split_dimension,
    world,
)
from lorascale_lint.verify.protocol import (
    Capability,
    LayerKind,
    LayerSpec,
    ModelLayer,
    Naming,
    TargetFacts,
    Unsupported,
)
from lorascale_lint.verify.real_adapters import layer_name

_ALPHA_KEYWORDS = ("lora_alpha", "alpha")
# A setter that wants the finished scale, as a published patch has it.
_SCALE_KEYWORDS = ("alpha_scale", "lora_scale", "scaling")

_REPLICATED, _COLUMN, _ROW = "ReplicatedLinear", "ColumnParallelLinear", "RowParallelLinear"
_MERGED_COLUMN, _QKV = "MergedColumnParallelLinear", "QKVParallelLinear"
_QKV_HEAD, _QKV_HEADS, _QKV_KV_HEADS = 8, 4, 2

LAYER_KINDS = (
    LayerKind(_REPLICATED),
    LayerKind(_COLUMN),
    LayerKind(_ROW),
    LayerKind(_MERGED_COLUMN, optional=True, shape=(96, 56)),
    LayerKind(_QKV, optional=True, shape=(_QKV_HEAD * (_QKV_HEADS + 2 * _QKV_KV_HEADS), 40)),
)


def _layer(name: str, shape: tuple[int, int], published: str, original: str) -> ModelLayer:
    names = {Naming.MODEL: name, Naming.PUBLISHED: published, Naming.ORIGINAL: original}
    return ModelLayer(name, shape, names)


# Names of Wan's transformer in the target, in diffusers' checkpoints, and in Wan's own code.
MODEL_LAYERS = (
    _layer("blocks.0.to_q", (72, 40), "blocks.0.attn1.to_q", "blocks.0.self_attn.q"),
    _layer("blocks.0.to_v", (52, 40), "blocks.0.attn1.to_v", "blocks.0.self_attn.v"),
    _layer("blocks.0.to_out", (44, 72), "blocks.0.attn1.to_out.0", "blocks.0.self_attn.o"),
    _layer("blocks.0.attn2.to_out", (36, 60), "blocks.0.attn2.to_out.0", "blocks.0.cross_attn.o"),
    _layer("blocks.0.ffn.fc_in", (100, 48), "blocks.0.ffn.net.0.proj", "blocks.0.ffn.0"),
    _layer("blocks.1.ffn.fc_out", (46, 88), "blocks.1.ffn.net.2", "blocks.1.ffn.2"),
)


def prepare(package: Path, import_mode: str) -> FastVideoDriver:
    """Import the target from `package` and make it run on the device in use.

    `import_mode` "full" executes every package's `__init__`; "lean" replaces the few first-party modules that
    need the most. Raises whatever the import raises.
    """
    importer = Importer(package, import_mode)
    importer.run()
    return FastVideoDriver(importer)


class FastVideoDriver:
    """FastVideo's LoRA layers and its `LoRAPipeline`."""

    def __init__(self, importer: Importer) -> None:
        self._importer = importer
        self._linear = importer.linear
        setter = inspect.signature(self._linear.BaseLayerWithLoRA.set_lora_weights).parameters
        self._alpha_keyword = next((name for name in _ALPHA_KEYWORDS if name in setter), None)
        self._scale_keyword = next((name for name in _SCALE_KEYWORDS if name in setter), None)
        self._has_strength = "strength" in setter
        self._constructor = inspect.signature(self._linear.BaseLayerWithLoRA.__init__).parameters
        pipeline = self._importer.pipeline.LoRAPipeline
        self._load_parameters = inspect.signature(pipeline.set_lora_adapter).parameters
        self._capabilities = self._discover(pipeline)

    def _discover(self, pipeline: Any) -> frozenset[Capability]:
        found = {
            Capability.LAYER_UNMERGED,
            Capability.LAYER_HOST_RESIDENT,
            Capability.MODEL_LOAD,
            Capability.MODEL_CACHE,
            Capability.MODEL_ANY_LAYER,
        }
        layer = self._linear.BaseLayerWithLoRA
        several = int(os.environ.get("WORLD_SIZE", 1)) > 1
        tests = {
            Capability.DTENSOR: several,
            Capability.TENSOR_PARALLEL: several,
            Capability.LAYER_UNMERGE: hasattr(layer, "unmerge_lora_weights"),
            Capability.LAYER_TRAINING: "training_mode" in self._constructor,
            Capability.LAYER_CONSTRUCTOR_ALPHA: "lora_alpha" in self._constructor,
            Capability.LAYER_SETTER_ALPHA: bool(self._alpha_keyword or self._scale_keyword),
            Capability.LAYER_STRENGTH: self._has_strength,
            Capability.MODEL_MERGE: hasattr(pipeline, "merge_lora_weights")
            and hasattr(pipeline, "unmerge_lora_weights"),
            Capability.MODEL_STRENGTH: "strength" in self._load_parameters,
            Capability.MODEL_ACCUMULATE: "accumulate" in self._load_parameters,
        }
        return frozenset(found | {name for name, there in tests.items() if there})

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What this version offers."""
        return self._capabilities

    @property
    def layer_kinds(self) -> Sequence[LayerKind]:
        """The linear layers that the target wraps."""
        return LAYER_KINDS

    @property
    def model_layers(self) -> Sequence[ModelLayer]:
        """A few layers of a Wan transformer, every kind of renaming among them."""
        return MODEL_LAYERS

    @property
    def file_prefix(self) -> str:
        """0.1.2 drops the first part of every name, whatever it is."""
        return "transformer." if self._importer.prefix != PACKAGE else ""

    def facts(self) -> TargetFacts:
        """What was imported and how."""
        importer = self._importer
        return TargetFacts(
            name="FastVideo",
            version=_version(importer.package),
            framework=framework(),
            import_mode=importer.import_mode,
            interventions=list(importer.interventions),
            stubs=importer.stub_finder.drawn() if importer.stub_finder else {},
            replaced_modules=list(importer.replaced),
        )

    def make_layer(self, spec: LayerSpec, weight: Weights, bias: Weights) -> FastVideoLayer:
        """Wrap a real linear layer of the target."""
        dtype = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}[spec.dtype]
        base = self._base_layer(spec.kind, (int(weight.shape[0]), int(weight.shape[1])), dtype)
        if spec.host_resident:
            base.cpu()
        split = split_dimension(base, weight)
        fill(base, own_part(weight, split), bias if split != 0 else own_part(bias, 0))
        if spec.sharded:
            mesh = importlib.import_module("torch.distributed.device_mesh")
            fsdp = importlib.import_module("torch.distributed.fsdp")
            kind = torch.device(device_in_use()).type
            fsdp.fully_shard(base, mesh=mesh.init_device_mesh(kind, (world(),)))
        wanted = {
            "lora_rank": spec.rank,
            "lora_alpha": spec.alpha,
            "training_mode": spec.training or None,
        }
        told = {name: value for name, value in wanted.items() if value is not None}
        if not self._constructor.keys() & told.keys():
            told = {}
        HOST_RESIDENT[0] = spec.host_resident
        try:
            layer = self._linear.get_lora_layer(base, **told)
        finally:
            HOST_RESIDENT[0] = False
        if layer is None:
            raise Unsupported(f"the target wraps no {spec.kind}")
        in_constructor = "lora_alpha" in told
        return FastVideoLayer(
            layer, in_constructor, self._alpha_keyword, self._scale_keyword, self._has_strength, split
        )

    def _base_layer(self, kind: str, shape: tuple[int, int], dtype: torch.dtype) -> Any:
        cls = getattr(self._importer.layers, kind, None)
        if cls is None:
            raise Unsupported(f"the target has no {kind}")
        out_features, in_features = shape
        if kind == _QKV:
            sizes: tuple[Any, ...] = (in_features, _QKV_HEAD, _QKV_HEADS, _QKV_KV_HEADS)
        elif kind == _MERGED_COLUMN:
            half = out_features // 2
            sizes = (in_features, [half, out_features - half])
        else:
            sizes = (in_features, out_features)
        # Every rank takes all inputs and gives all outputs; the layers could leave that to their neighbours.
        whole = {_COLUMN: {"gather_output": True}, _ROW: {"input_is_parallel": False}}.get(kind, {})
        return cls(*sizes, bias=True, params_dtype=dtype, **whole).to(device_in_use())

    def make_model(self, weights: Mapping[str, Weights]) -> _Model:
        """A transformer with Wan's names inside a real `LoRAPipeline`."""
        return self._make_model(weights, torch.float32)

    def make_model_for(self, module: str, weight: Weights, dtype: str) -> _Model:
        """A transformer of one layer, called as the loader's own mappings have it."""
        name = f"{layer_name(module)}.lora_A"
        for mapping in (self._importer.mappings.lora_param_names_mapping, self._param_names_mapping):
            if self._importer.names_mapping is not None:
                name = self._importer.names_mapping(mapping)(name)[0]
        return self._make_model({name.removesuffix(".lora_A"): weight}, getattr(torch, dtype))

    @property
    def _param_names_mapping(self) -> Mapping[str, Any]:
        return dict(self._importer.mappings.param_names_mapping)

    def _make_model(self, weights: Mapping[str, Weights], dtype: torch.dtype) -> _Model:
        transformer = torch.nn.Module()
        transformer.blocks = torch.nn.ModuleList()
        for name, weight in weights.items():
            base = self._base_layer(_REPLICATED, (int(weight.shape[0]), int(weight.shape[1])), dtype)
            fill(base, weight, np.zeros(len(weight)))
            _place(transformer, name, base)
        mappings = self._importer.mappings
        transformer.param_names_mapping = self._param_names_mapping
        transformer.lora_param_names_mapping = dict(mappings.lora_param_names_mapping)
        transformer.config = SimpleNamespace(arch_config=mappings)
        return _Model(self._pipeline(transformer), transformer, self._load_parameters, list(weights))

    def _pipeline(self, transformer: Any) -> Any:
        base = self._importer.pipeline.LoRAPipeline
        methods = {name: lambda self, *a, **k: None for name in getattr(base, "__abstractmethods__", ())}
        concrete = type("VerifiedPipeline", (base,), methods)
        # The constructor loads a whole model; only the LoRA part of it is of interest.
        pipeline: Any = object.__new__(concrete)
        for cls in reversed(base.__mro__):
            for name, value in vars(cls).items():
                # Class-level containers are shared by all instances before 0.2.1: a scenario must not
                # inherit the former's.
                if isinstance(value, dict | list) and not name.startswith("__"):
                    setattr(pipeline, name, _emptied(value))
        excluded = vars(base).get("exclude_lora_layers")
        settings: dict[str, Any] = {
            "modules": {"transformer": transformer},
            "trainable_transformer_names": ["transformer"],
            "trainable_transformer_modules": {"transformer": transformer},
            "exclude_lora_layers": {"transformer": []} if isinstance(excluded, dict) else [],
            "device": torch.device(device_in_use()),
            "training_mode": False,
            "lora_initialized": False,
            "fastvideo_args": SimpleNamespace(
                training_mode=False,
                dit_layerwise_offload=False,
                lora_path=None,
                lora_nickname="default",
                lora_target_modules=None,
                lora_strength=1.0,
                pipeline_config=SimpleNamespace(lora_target_names=None),
            ),
        }
        for name, value in settings.items():
            setattr(pipeline, name, value)
        if not hasattr(base, "lora_initialized"):
            # Later versions do this when the first adapter is loaded, this one in the constructor.
            pipeline.convert_to_lora_layers()
        return pipeline


def _emptied(container: Any) -> Any:
    if isinstance(container, collections.defaultdict):
        return collections.defaultdict(container.default_factory)
    return type(container)()


def _version(package: Path) -> str:
    """The version that the tree says it has; "unknown" if it says none."""
    version = getattr(sys.modules.get("fastvideo.version"), "__version__", None)
    if version is None:
        found = sorted(package.parent.glob("fastvideo-*.dist-info"))
        version = found[0].name.removeprefix("fastvideo-").removesuffix(".dist-info") if found else "unknown"
    return str(version)


def _place(root: Any, name: str, module: Any) -> None:
    """Put a module at a dotted name, making plain modules and the block list on the way."""
    parent = root
    parts = name.split(".")
    for part in parts[:-1]:
        if isinstance(parent, torch.nn.ModuleList):
            while len(parent) <= int(part):
                parent.append(torch.nn.Module())
            parent = parent[int(part)]
        else:
            if not hasattr(parent, part):
                setattr(parent, part, torch.nn.Module())
            parent = getattr(parent, part)
    setattr(parent, parts[-1], module)


class _Model:
    def __init__(
        self, pipeline: Any, transformer: Any, load_parameters: Mapping[str, Any], names: Sequence[str]
    ) -> None:
        self._pipeline = pipeline
        self._transformer = transformer
        self._load_parameters = load_parameters
        self._names = names

    def load(self, nickname: str, folder: Path | None, *, strength: float, accumulate: bool) -> None:
        told: dict[str, Any] = {}
        if strength != 1:
            told["strength"] = strength
        if accumulate:
            told["accumulate"] = True
        # A folder, not the file: 0.1.6 takes nothing else.
        self._pipeline.set_lora_adapter(nickname, None if folder is None else str(folder), **told)

    def merge(self) -> None:
        self._pipeline.merge_lora_weights()

    def unmerge(self) -> None:
        self._pipeline.unmerge_lora_weights()

    def _at(self, name: str) -> Any:
        return self._transformer.get_submodule(name)

    def weights(self) -> Mapping[str, Weights]:
        found = {}
        for name in self._names:
            module = self._at(name)
            found[name] = array_of(getattr(module, "base_layer", module).weight)
        return found

    def layers_with_factors(self) -> Collection[str]:
        return [name for name in self._names if getattr(self._at(name), "lora_A", None) is not None]
