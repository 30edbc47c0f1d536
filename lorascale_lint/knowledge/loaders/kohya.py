"""kohya's sd-scripts and musubi-tuner: flattened names, an `.alpha` for each module."""

from __future__ import annotations

from lorascale_lint.knowledge.conventions import A_B, DOWN_UP
from lorascale_lint.knowledge.kinds import KRONECKER, LOW_RANK
from lorascale_lint.knowledge.layer_names import QWEN, UNET, WAN_ENDS
from lorascale_lint.knowledge.reading import (
    Case,
    Files,
    Loader,
    Magnitude,
    Scales,
    Skips,
    Statement,
    Unsaid,
    Zero,
)

_IGNORED = (("dora_scale", Magnitude.IGNORED), ("lora_magnitude_vector", Magnitude.IGNORED))

_LEFT_OVER = Skips("sd-scripts @ 48d368fa networks/lora.py:828, :1079 load_state_dict(weights_sd, False)")

SD_SCRIPTS = Loader(
    "sd-scripts",
    "kohya sd-scripts",
    "multiplier={}",
    (
        Case(Files(begin=("lora_unet_",), ends=WAN_ENDS), _LEFT_OVER),
        Case(Files(begin=("lora_unet_",), inside=QWEN), _LEFT_OVER),
        Case(
            Files(begin=("lora_unet_", "lora_te"), pairs=(DOWN_UP,)),
            Scales(
                "sd-scripts @ 48d368fa networks/lora.py:837-839, LoRAModule: missing or 0 is the rank",
                (Statement.ALPHA,),
                zero=Zero.ONE,
                magnitudes=_IGNORED,
            ),
        ),
        Case(
            Files(begin=("lora_unet_", "lora_te")),
            Skips(
                "sd-scripts @ 48d368fa networks/lora.py:824-833: ranks of lora_down alone",
                "it has no module for such factors",
            ),
        ),
        Case(
            Files(begin=("lora_transformer_", "lora_prior_")),
            Unsaid("other scripts of it have other names"),
        ),
        Case(Files(), _LEFT_OVER),
    ),
    aliases=("kohya",),
    suffixes=(".safetensors", ".pt", ".pth", ".ckpt", ".bin"),
)

_UNUSED = Skips("musubi-tuner @ 30c658c utils/lora_utils.py:149, :239: keys that are not used are a warning")

MUSUBI = Loader(
    "musubi-tuner",
    "musubi-tuner (merged)",
    "multiplier={}",
    (
        Case(Files(inside=UNET), _UNUSED),
        Case(
            Files(begin=("lora_unet_", "lora_te"), inside=("lora_unet_",)),
            Scales(
                "musubi-tuner @ 30c658c utils/lora_utils.py:161-191, networks/loha.py:323, lokr.py:400",
                (Statement.ALPHA,),
                kinds=LOW_RANK | KRONECKER,
                magnitudes=_IGNORED,
                note="of text encoders it applies nothing; as a network to train on, alpha 0 is the rank",
            ),
        ),
        Case(
            Files(begin=("diffusion_model.", "transformer."), pairs=(A_B,)),
            Scales(
                "musubi-tuner @ 30c658c fpack_generate_video.py:963-1025: alpha is set to the rank",
                only="FramePack",
            ),
        ),
        Case(Files(), _UNUSED),
    ),
    aliases=("musubi",),
)
