"""The kinds of files of `verify --matrix`: the same weights, written in each way that is found in the wild.

One adapter (rank 8, alpha 4: scale .5) under the model's own names, but for kohya's. Every kind is one
scenario, and its row is one cell of the matrix.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lorascale_lint.verify.adapter_files import write_adapter
from lorascale_lint.verify.inputs import generator_for, make_tensors
from lorascale_lint.verify.protocol import Capability, Naming
from lorascale_lint.verify.steps import RANK, Adapter, KeyStyle, Load, Measure, Scenario, Term

ALPHA = 4.0

# Title, and where and how the file states alpha.
FILE_KINDS: tuple[tuple[str, KeyStyle, float | None], ...] = (
    ("lora_A/lora_B, no alpha", KeyStyle.ALPHA, None),
    ("lora_A/lora_B + .alpha", KeyStyle.ALPHA, ALPHA),
    ("lora_A.default/lora_B.default + .alpha", KeyStyle.NAMED_ADAPTER, ALPHA),
    ("FastVideo: lora_A/lora_B + .lora_alpha", KeyStyle.LORA_ALPHA, ALPHA),
    ("lora_A/lora_B + .alpha_scale", KeyStyle.ALPHA_SCALE, ALPHA),
    ("lora_A/lora_B, adapter_config.json beside", KeyStyle.CONFIG_BESIDE, ALPHA),
    ("lora_A/lora_B, alpha in __metadata__", KeyStyle.FILE_METADATA, ALPHA),
    ("lora_down/lora_up + .alpha", KeyStyle.KOHYA, ALPHA),
    ("kohya: lora_unet_ names + .alpha", KeyStyle.KOHYA_FLAT, ALPHA),
    ("PEFT directory", KeyStyle.PEFT_FOLDER, ALPHA),
    ("diffusers: lora_adapter_metadata", KeyStyle.DIFFUSERS_METADATA, ALPHA),
    ("LongCat: hyphen keys + .alpha_scale", KeyStyle.LONGCAT, ALPHA),
    ("LyCORIS: LoRA + .alpha", KeyStyle.LYCORIS, ALPHA),
    ("LyCORIS: LoHa + .alpha", KeyStyle.LOHA, ALPHA),
    ("LyCORIS: LoKr + .alpha", KeyStyle.LOKR, ALPHA),
)

# What a loader that names no styles claims to read: factors A and B under the model's own names.
_PLAIN = frozenset(
    {
        KeyStyle.ALPHA,
        KeyStyle.LORA_ALPHA,
        KeyStyle.ALPHA_SCALE,
        KeyStyle.CONFIG_BESIDE,
        KeyStyle.FILE_METADATA,
    }
)


def file_scenarios(styles: Sequence[KeyStyle] | None) -> list[Scenario]:
    """One scenario for each kind of file; `styles` are what the loader claims to read (see `scenarios`).

    A loader that refuses a file that it doesn't claim, or applies nothing of it, is shown and never makes the
    run differ. One that applies it wrongly makes it differ unless it claims other styles.
    """
    return [_scenario(title, adapter_of(style, alpha), styles) for title, style, alpha in FILE_KINDS]


def adapter_of(style: KeyStyle, alpha: float | None) -> Adapter:
    """The adapter as a file of that style has it; kohya's tools take the names of a model's original code."""
    naming = Naming.ORIGINAL if style is KeyStyle.KOHYA_FLAT else Naming.MODEL
    return Adapter("A", alpha, style=style, naming=naming)


def _scenario(title: str, adapter: Adapter, styles: Sequence[KeyStyle] | None) -> Scenario:
    claimed = adapter.style in (_PLAIN if styles is None else styles)
    return Scenario(
        name=title,
        adapters=(adapter,),
        steps=(Load(adapter.name, "first"), Measure((Term(adapter.name, adapter.scale),))),
        needs=frozenset({Capability.MODEL_LOAD}),
        optional=not claimed,
        counted=claimed or styles is None,
        one_file=True,
    )


def write_file(folder: Path, style: KeyStyle, alpha: float | None, prefix: str = "") -> Path:
    """Write such a file for two layers into `folder` and return it; `prefix` is what its loader wants first.

    Only for what looks at files: the layers belong to no model.
    """
    adapter = adapter_of(style, alpha)
    before = "" if adapter.file_prefix else prefix
    weight = np.zeros((72, 40))
    tensors = {
        before + name: make_tensors(generator_for(0, name), weight, RANK, style.form).tensors
        for name in ("blocks.0.to_q", "blocks.1.to_q")
    }
    (file,) = write_adapter(folder, adapter, tensors).glob("*.safetensors")
    return file
