"""The conventions that an adapter can be rewritten to: names, and where alpha goes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class AlphaPlace(StrEnum):
    """Where a convention states alpha."""

    TENSOR = "a tensor beside the factors"
    SCALE_TENSOR = "a tensor with alpha / rank itself"
    CONFIG = "adapter_config.json"
    METADATA = "lora_adapter_metadata"


@dataclass(frozen=True, slots=True)
class Target:
    """How a convention spells modules and factors.

    `prefix` stands before every module name, in which `dot` takes the place of each dot. `magnitude` is what
    DoRA's tensor is called.
    """

    name: str
    prefix: str
    down: str
    up: str
    place: AlphaPlace
    alpha_key: str = ""
    dot: str = "."
    magnitude: str = ""


_A_B = ("lora_A.weight", "lora_B.weight")
_DOWN_UP = ("lora_down.weight", "lora_up.weight")
_MAGNITUDE = "lora_magnitude_vector"

TARGETS = (
    Target("kohya", "lora_unet_", *_DOWN_UP, AlphaPlace.TENSOR, "alpha", "_", "dora_scale"),
    Target("comfy", "diffusion_model.", *_A_B, AlphaPlace.TENSOR, "alpha", magnitude="dora_scale"),
    Target("plain", "", *_A_B, AlphaPlace.TENSOR, "alpha", magnitude=_MAGNITUDE),
    Target("down-up", "", *_DOWN_UP, AlphaPlace.TENSOR, "alpha", magnitude="dora_scale"),
    Target("diffsynth", "", "lora_A.default.weight", "lora_B.default.weight", AlphaPlace.TENSOR, "alpha"),
    Target("fastvideo", "", "lora_A", "lora_B", AlphaPlace.TENSOR, "lora_alpha"),
    Target("peft", "base_model.model.", *_A_B, AlphaPlace.CONFIG, magnitude=_MAGNITUDE),
    Target("diffusers", "transformer.", *_A_B, AlphaPlace.METADATA, magnitude=_MAGNITUDE),
    Target(
        "longcat", "lora___lorahyphen___", *_DOWN_UP, AlphaPlace.SCALE_TENSOR, "alpha_scale",
        "___lorahyphen___",
    ),
)  # fmt: skip


def target_named(name: str) -> Target | None:
    """The target of that name, if there is one."""
    return next((target for target in TARGETS if target.name == name), None)
