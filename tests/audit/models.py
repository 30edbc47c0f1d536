"""Tiny models, real PEFT adapters for them, and merges: PEFT's own, and wrong ones made by hand."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lorascale_lint.audit.command import AuditOptions, audit_checkpoint
from lorascale_lint.audit.report import Audit
from lorascale_lint.audit.verdicts import Judgement

torch = pytest.importorskip("torch", reason="needs torch (extra verify)")
peft = pytest.importorskip("peft", reason="needs PEFT (extra loaders)")
safetensors_torch = pytest.importorskip("safetensors.torch")

DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
WIDTH = 32
Tensors = dict[str, Any]


class Block(torch.nn.Module):
    """One of each kind of layer."""

    def __init__(self) -> None:
        super().__init__()
        self.to_q = torch.nn.Linear(WIDTH, WIDTH)
        self.to_v = torch.nn.Linear(WIDTH, 2 * WIDTH, bias=False)
        self.conv = torch.nn.Conv2d(8, 16, 3)
        self.pointwise = torch.nn.Conv2d(8, 16, 1)
        self.norm = torch.nn.LayerNorm(WIDTH)


class Model(torch.nn.Module):
    """Two blocks between an embedding and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = torch.nn.Embedding(50, WIDTH)
        self.blocks = torch.nn.ModuleList([Block(), Block()])
        self.head = torch.nn.Linear(WIDTH, 10)

    def forward(self, x: Any) -> Any:
        return x


def save(path: Path, tensors: Tensors) -> Path:
    """Write a safetensors file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    safetensors_torch.save_file({key: value.contiguous().clone() for key, value in tensors.items()}, path)
    return path


def load(path: Path) -> Tensors:
    """Read one."""
    found: Tensors = safetensors_torch.load_file(path)
    return found


@dataclass
class Case:
    """Base, adapter and merged checkpoint in a folder."""

    folder: Path
    adapters: tuple[str, ...] = ()

    @property
    def base(self) -> Path:
        return self.folder / "base.safetensors"

    @property
    def merged(self) -> Path:
        return self.folder / "merged.safetensors"

    @property
    def adapter(self) -> Path:
        return self.folder / "adapter"

    def audit(self, **options: Any) -> Audit:
        adapters = self.adapters or (str(self.adapter),)
        return audit_checkpoint(AuditOptions(self.base, adapters, self.merged, **options))

    def merged_by_hand(self, change: Callable[[str, Any, Any], Any]) -> Audit:
        """Merge anew: `change` gets the name, the base weight and the delta at scale 1."""
        factors = load(self.adapter / "adapter_model.safetensors")
        merged = {}
        for name, weight in load(self.base).items():
            key = f"base_model.model.{name.removesuffix('.weight')}"
            if f"{key}.lora_A.weight" in factors:
                a, b = factors[f"{key}.lora_A.weight"].float(), factors[f"{key}.lora_B.weight"].float()
                weight = change(name, weight, b @ a)
            merged[name] = weight
        save(self.merged, merged)
        return self.audit()


def make(
    folder: Path,
    config: Any,
    *,
    dtype: str = "F32",
    size: float = 0.1,
    adapter_dtype: str = "F32",
    model: Callable[[], Any] = Model,
    seed: int = 0,
) -> Case:
    """A model, an adapter with random factors, and what PEFT's `merge_and_unload` makes of both."""
    torch.manual_seed(seed)
    base = model().to(DTYPES[dtype])
    case = Case(folder)
    save(case.base, base.state_dict())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wrapped = peft.get_peft_model(base, config, autocast_adapter_dtype=False)
        for name, parameter in wrapped.named_parameters():
            if "magnitude" in name:
                parameter.data = (parameter.data.float() * 1.1).to(DTYPES[adapter_dtype])
            elif any(part in name for part in ("lora_", "hada_", "lokr_")):
                parameter.data = (size * torch.randn(parameter.shape)).to(DTYPES[adapter_dtype])
            elif "modules_to_save" in name:
                parameter.data = parameter.data + 0.1
        wrapped.save_pretrained(case.adapter)
        save(case.merged, wrapped.merge_and_unload().state_dict())
    return case


def lora(**options: Any) -> Any:
    """A LoRA of rank 8 and alpha 4 on both linear layers of each block."""
    return peft.LoraConfig(**({"r": 8, "lora_alpha": 4, "target_modules": ["to_q", "to_v"]} | options))


def verdicts(audit: Audit) -> dict[str, str]:
    """The verdict on each module that an adapter touches, by its short name."""
    return {_short(item): item.verdict.value for item in audit.judgements if item.adapted}


def _short(item: Judgement) -> str:
    return item.name.removeprefix("base_model.model.")
