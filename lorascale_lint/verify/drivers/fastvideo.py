"""FastVideo (0.1.2 to 0.2.1 and what is patched from them).

Importable only in the child: `prepare` imports torch and the target. What must be changed to run it, most
of it for a machine without an accelerator, is done in `_Importer`, one method each, and named in the report.
"""

from __future__ import annotations

import collections
import functools
import importlib
import inspect
import os
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lorascale_lint.verify.arrays import compiled, device_in_use, framework, is_card, poison_torch
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
from lorascale_lint.verify.stubs import PackageFinder, StubFinder, stub_if_unusable

Weights = NDArray[np.floating]

_PACKAGE = "fastvideo"
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


class _Backup(torch.Tensor):  # type: ignore[misc]
    """A weight backup that behaves as if the weight were on a device: every `.to` is a copy."""

    def to(self, *args: Any, **kwargs: Any) -> Any:
        return self.as_subclass(torch.Tensor).to(*args, **kwargs).clone()

    @property
    def data(self) -> Any:
        return self.as_subclass(torch.Tensor).detach().as_subclass(_Backup)


def _tensor(values: Weights, dtype: torch.dtype = torch.float32) -> Any:
    return torch.from_numpy(np.array(values, dtype=np.float32)).to(device=device_in_use(), dtype=dtype)


def _array(tensor: Any) -> Weights:
    return np.array(tensor.detach().to(torch.float64).cpu().numpy())


def prepare(package: Path, import_mode: str) -> FastVideoDriver:
    """Import the target from `package` and make it run on the device in use.

    `import_mode` "full" executes every package's `__init__`; "lean" replaces the few first-party modules that
    need the most. Raises whatever the import raises.
    """
    importer = _Importer(package, import_mode)
    importer.run()
    return FastVideoDriver(importer)


class _Importer:
    def __init__(self, package: Path, import_mode: str) -> None:
        self.package = package
        self.import_mode = import_mode
        self.prefix = _PACKAGE if (package / "layers").is_dir() else f"{_PACKAGE}.v1"
        self.folder = package.joinpath(*self.prefix.split(".")[1:])
        self.interventions: list[str] = []
        self.replaced: list[str] = []
        self.stub_finder: StubFinder | None = None
        self.linear: Any = None
        self.layers: Any = None
        self.pipeline: Any = None
        self.mappings: Any = None
        self.names_mapping: Any = None
        self.pipeline_problem = ""

    def run(self) -> None:
        self._poison_memory()
        if is_card():
            self._name_device()
        self._look_before_stubbing()
        self.stub_finder = stub_if_unusable(["torchvision"])
        if self.import_mode == "lean":
            self._replace_first_party()
            if not is_card():
                self._name_platform()
        else:
            sys.meta_path.insert(0, PackageFinder(_PACKAGE, str(self.package)))
        self.linear = self._import("layers.lora.linear")
        self.layers = self._import("layers.linear")
        self.pipeline = self._import("pipelines.lora_pipeline")
        self.mappings = self._import("configs.models.dits.wanvideo").WanVideoArchConfig()
        self.names_mapping = vars(self.pipeline).get("get_param_names_mapping")
        if not is_card():
            self._force_device()
            self._unpin_offload()
            if device_in_use() == "cpu":
                self._separate_backups()
        self._start_process_group()

    def _import(self, name: str) -> Any:
        return importlib.import_module(f"{self.prefix}.{name}")

    def _poison_memory(self) -> None:
        self.interventions += poison_torch()
        if os.environ.get("TORCHDYNAMO_DISABLE") == "1":
            self.interventions.append("torch.compile is off (TORCHDYNAMO_DISABLE=1)")

    def _name_device(self) -> None:
        # The target computes on the device of its local rank.
        device = torch.device(device_in_use())
        torch.cuda.set_device(device)
        os.environ["LOCAL_RANK"] = str(device.index)
        self.interventions.append(f"LOCAL_RANK is {device.index}, the number of the device")

    def _look_before_stubbing(self) -> None:
        # Both ask once whether torchvision is there and remember it; asked after the stub is in place they
        # would believe in it and draw from it too.
        for name in ("transformers.utils", "diffusers.utils"):
            try:
                module = importlib.import_module(name)
                module.is_torchvision_available()
            except (ImportError, AttributeError):
                continue

    def _replace_first_party(self) -> None:
        bare_packages = {
            _PACKAGE: self.package,
            self.prefix: self.folder,
            f"{self.prefix}.pipelines": self.folder / "pipelines",
        }
        for name, folder in bare_packages.items():
            bare = ModuleType(name)
            bare.__path__ = [str(folder)]
            sys.modules[name] = bare
            parent, _, last = name.rpartition(".")
            if parent:
                setattr(sys.modules[parent], last, bare)
            self.replaced.append(f"{name} (its __init__ was not run)")
        self._dummy(f"{self.prefix}.pipelines.composed_pipeline_base", "ComposedPipelineBase")
        # Real in old versions; from 0.2.0 on it imports in a circle unless the package's own __init__ came
        # first.
        if (self.folder / "api").is_dir():
            self._dummy(f"{self.prefix}.fastvideo_args", "FastVideoArgs", "TrainingArgs")

    def _name_platform(self) -> None:
        # Versions that know no platform but CUDA raise while they are imported on any other machine.
        platforms = self._import("platforms")
        if "cpu" not in vars(platforms).get("builtin_platform_plugins", {"cpu": None}):
            interface = self._import("platforms.interface")
            interface.Platform._enum = interface.PlatformEnum.CPU
            platforms._current_platform = interface.Platform()
            self.interventions.append("the platform is the package's base class: it knows none but CUDA")

    def _dummy(self, name: str, *classes: str) -> None:
        module = ModuleType(name)
        for class_name in classes:
            setattr(module, class_name, type(class_name, (), {}))
        sys.modules[name] = module
        self.replaced.append(f"{name} (empty {', '.join(classes)})")

    def _force_device(self) -> None:
        # Without CUDA the target answers "mps" on every machine.
        def get_local_torch_device() -> torch.device:
            return torch.device(device_in_use())

        count = 0
        for name, module in list(sys.modules.items()):
            if name.partition(".")[0] == _PACKAGE and "get_local_torch_device" in vars(module):
                vars(module)["get_local_torch_device"] = get_local_torch_device
                count += 1
        place = "the CPU" if device_in_use() == "cpu" else device_in_use()
        self.interventions.append(f"get_local_torch_device() is {place} in the {count} modules that have it")

    def _unpin_offload(self) -> None:
        policy = vars(self.linear).get("CPUOffloadPolicy")
        if policy is not None:
            self.linear.CPUOffloadPolicy = functools.partial(policy, pin_memory=False)
            self.interventions.append("CPUOffloadPolicy does not pin memory")

    def _start_process_group(self) -> None:
        distributed = torch.distributed
        # torchrun tells each of several processes its rank, and where the others are.
        rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        name, local_rank = "gloo", rank
        if is_card():
            name, local_rank = "nccl", int(os.environ["LOCAL_RANK"])
        if world > 1:
            distributed.init_process_group(name)
        elif not distributed.is_initialized():
            distributed.init_process_group(name, store=distributed.HashStore(), rank=0, world_size=1)
        state = self._import("distributed.parallel_state")
        start = state.init_distributed_environment
        # Old versions ask for NCCL unless told otherwise.
        backend = {"backend": name} if "backend" in inspect.signature(start).parameters else {}
        start(world_size=world, rank=rank, local_rank=local_rank, **backend)
        state.initialize_model_parallel(world, 1)
        place = "an in-memory store" if world == 1 else "torchrun"
        count = "one rank" if world == 1 else f"{world} ranks, all of them tensor parallel"
        self.interventions.append(f"process group: {name}, {count}, {place}")
        if world > 1:
            # What a whole pipeline does before it makes layers that are sharded.
            policy = importlib.import_module("torch.distributed.fsdp").MixedPrecisionPolicy()
            self._import("utils").set_mixed_precision_policy(torch.float32, torch.float32, None, policy)

    def _separate_backups(self) -> None:
        # On the CPU `weight.to("cpu")` is the weight itself: merging in place would spoil the backup, and
        # unmerging would do nothing. On a device it is a copy.
        base = self.linear.BaseLayerWithLoRA
        original = base.__init__

        @functools.wraps(original)
        def init(layer: Any, *args: Any, **kwargs: Any) -> None:
            original(layer, *args, **kwargs)
            if not _HOST_RESIDENT[0]:
                _separate(layer)

        base.__init__ = init
        self.interventions.append("a layer's backup of its weight is a copy, as it is on a device")


# Set while a layer is made that shall keep the CPU's aliasing.
_HOST_RESIDENT = [False]


def _separate(layer: Any) -> None:
    weight = getattr(layer.base_layer, "weight", None)
    # A shard and the gathered weight share no memory.
    if not isinstance(weight, torch.Tensor) or hasattr(weight, "full_tensor"):
        return
    held = {**layer._parameters, **layer._buffers, **vars(layer)}
    for name, value in held.items():
        if isinstance(value, torch.Tensor) and value.data_ptr() == weight.data_ptr():
            layer._parameters.pop(name, None)
            layer._buffers.pop(name, None)
            layer.__dict__[name] = value.detach().clone().as_subclass(_Backup)


class FastVideoDriver:
    """FastVideo's LoRA layers and its `LoRAPipeline`."""

    def __init__(self, importer: _Importer) -> None:
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
        return "transformer." if self._importer.prefix != _PACKAGE else ""

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

    def make_layer(self, spec: LayerSpec, weight: Weights, bias: Weights) -> _Layer:
        """Wrap a real linear layer of the target."""
        dtype = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}[spec.dtype]
        base = self._base_layer(spec.kind, (int(weight.shape[0]), int(weight.shape[1])), dtype)
        if spec.host_resident:
            base.cpu()
        split = _split_dimension(base, weight)
        _fill(base, _own_part(weight, split), bias if split != 0 else _own_part(bias, 0))
        if spec.sharded:
            mesh = importlib.import_module("torch.distributed.device_mesh")
            fsdp = importlib.import_module("torch.distributed.fsdp")
            kind = torch.device(device_in_use()).type
            fsdp.fully_shard(base, mesh=mesh.init_device_mesh(kind, (_world(),)))
        wanted = {
            "lora_rank": spec.rank,
            "lora_alpha": spec.alpha,
            "training_mode": spec.training or None,
        }
        told = {name: value for name, value in wanted.items() if value is not None}
        if not self._constructor.keys() & told.keys():
            told = {}
        _HOST_RESIDENT[0] = spec.host_resident
        try:
            layer = self._linear.get_lora_layer(base, **told)
        finally:
            _HOST_RESIDENT[0] = False
        if layer is None:
            raise Unsupported(f"the target wraps no {spec.kind}")
        in_constructor = "lora_alpha" in told
        return _Layer(
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
            _fill(base, weight, np.zeros(len(weight)))
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


def _world() -> int:
    """How many processes share the layers."""
    return int(torch.distributed.get_world_size())


def _split_dimension(base: Any, weight: Weights) -> int | None:
    """The dimension of the weight that a tensor-parallel layer has a part of; None: it has all of it."""
    pairs = enumerate(zip(base.weight.shape, weight.shape, strict=False))
    return next((dimension for dimension, (mine, whole) in pairs if mine * _world() == whole != mine), None)


def _own_part(values: Weights, dimension: int | None) -> Weights:
    """What this rank has of a weight or bias that is split."""
    if dimension is None:
        return values
    part: Weights = np.split(values, _world(), axis=dimension)[torch.distributed.get_rank()]
    return part


def _fill(base: Any, weight: Weights, bias: Weights) -> None:
    with torch.no_grad():
        base.weight.copy_(_tensor(weight, base.weight.dtype))
        if getattr(base, "bias", None) is not None:
            base.bias.copy_(_tensor(bias, base.bias.dtype))


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


class _Layer:
    def __init__(
        self,
        layer: Any,
        in_constructor: bool,
        alpha_keyword: str | None,
        scale_keyword: str | None,
        has_strength: bool,
        split: int | None,
    ) -> None:
        self._layer = layer
        self._split = split
        self._in_constructor = in_constructor
        self._alpha_keyword = alpha_keyword
        self._scale_keyword = scale_keyword
        self._has_strength = has_strength

    def set_factors(self, a: Weights, b: Weights, *, alpha: float | None, strength: float) -> str:
        told: dict[str, Any] = {}
        note = ""
        if self._has_strength and strength != 1:
            told["strength"] = strength
        if alpha is not None:
            if self._alpha_keyword:
                told[self._alpha_keyword] = alpha
            elif self._scale_keyword:
                told[self._scale_keyword] = alpha / a.shape[0]
            elif self._in_constructor:
                note = "alpha through the constructor, set_lora_weights takes none"
            else:
                note = "the layer can be told no alpha"
        dtype = self._layer.base_layer.weight.dtype
        self._layer.set_lora_weights(_tensor(a, dtype), _tensor(b, dtype), **told)
        return note

    def train_factors(self, a: Weights, b: Weights) -> None:
        with torch.no_grad():
            self._layer.lora_A.copy_(_tensor(a))
            self._layer.lora_B.copy_(_tensor(b))

    def merge(self) -> None:
        self._layer.merge_lora_weights()

    def unmerge(self) -> None:
        self._layer.unmerge_lora_weights()

    def weight(self) -> Weights:
        weight = self._layer.base_layer.weight
        if hasattr(weight, "full_tensor"):
            weight = weight.full_tensor()
        if self._split is None:
            return _array(weight)
        parts = [torch.empty_like(weight) for _ in range(_world())]
        torch.distributed.all_gather(parts, weight.detach().contiguous())
        return _array(torch.cat(parts, dim=self._split))

    def forward(self, x: Weights) -> Weights:
        inputs = _tensor(x, self._layer.base_layer.weight.dtype)
        with torch.no_grad():
            answer = compiled(self._layer)(inputs)
        # The target's linear layers return (output, bias that was not added).
        output, extra = answer if isinstance(answer, tuple) else (answer, None)
        return _array(output if extra is None else output + extra)


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
            found[name] = _array(getattr(module, "base_layer", module).weight)
        return found

    def layers_with_factors(self) -> Collection[str]:
        return [name for name in self._names if getattr(self._at(name), "lora_A", None) is not None]
