"""Importing FastVideo: what must be changed to run it, most of it for a machine without an accelerator.

One method of `Importer` each; the report names them.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from lorascale_lint.verify.arrays import device_in_use, is_card, poison_torch
from lorascale_lint.verify.stubs import PackageFinder, StubFinder, stub_if_unusable

PACKAGE = "fastvideo"


class _Backup(torch.Tensor):  # type: ignore[misc]
    """A weight backup that behaves as if the weight were on a device: every `.to` is a copy."""

    def to(self, *args: Any, **kwargs: Any) -> Any:
        return self.as_subclass(torch.Tensor).to(*args, **kwargs).clone()

    @property
    def data(self) -> Any:
        return self.as_subclass(torch.Tensor).detach().as_subclass(_Backup)


class Importer:
    """The modules of the target, and what was changed so that they run here."""

    def __init__(self, package: Path, import_mode: str) -> None:
        self.package = package
        self.import_mode = import_mode
        self.prefix = PACKAGE if (package / "layers").is_dir() else f"{PACKAGE}.v1"
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
        """Import them. Raises whatever that raises."""
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
            sys.meta_path.insert(0, PackageFinder(PACKAGE, str(self.package)))
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
            PACKAGE: self.package,
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
            if name.partition(".")[0] == PACKAGE and "get_local_torch_device" in vars(module):
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
            if not HOST_RESIDENT[0]:
                _separate(layer)

        base.__init__ = init
        self.interventions.append("a layer's backup of its weight is a copy, as it is on a device")


# Set while a layer is made that shall keep the CPU's aliasing.
HOST_RESIDENT = [False]


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
