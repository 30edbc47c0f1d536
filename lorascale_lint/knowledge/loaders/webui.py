"""A1111, and Forge, which has ComfyUI's older code."""

from __future__ import annotations

from lorascale_lint.knowledge.kinds import KRONECKER, LOW_RANK, Kind
from lorascale_lint.knowledge.layer_names import FLUX, QWEN, WAN_ENDS
from lorascale_lint.knowledge.reading import Case, Files, Loader, Magnitude, Scales, Skips, Statement, Unsaid

_KINDS = LOW_RANK | KRONECKER | {Kind.GLORA}
_ARGUMENT = "<lora:NAME:{}>"
_SUFFIXES = (".safetensors", ".pt", ".ckpt")
_A1111 = "stable-diffusion-webui 1.10 extensions-builtin/Lora/networks.py load_network"

_NO_MATCH = Skips(f"{_A1111}: keys that match none of its layers are counted and left")

A1111 = Loader(
    "a1111",
    "A1111",
    _ARGUMENT,
    (
        Case(Files(begin=("lora_unet_",), ends=WAN_ENDS), _NO_MATCH),
        Case(Files(begin=("lora_unet_",), inside=(*FLUX, *QWEN)), _NO_MATCH),
        Case(
            Files(begin=("lora_unet_", "lora_te_", "lora_te1_", "lora_te2_")),
            Scales(
                f"{_A1111}, network.py calc_scale: .scale before .alpha, missing is 1.0",
                (Statement.SCALE, Statement.ALPHA),
                kinds=_KINDS,
                cores=True,
            ),
        ),
        Case(
            Files(begin=("lora_",), but_not=("lora___lorahyphen___",)),
            Unsaid("nobody has read what such flat names mean to it"),
        ),
        Case(
            Files(begin=("transformer.transformer_blocks.",)),
            Scales(
                f"{_A1111}: for SD3 a key is cut before its last two parts, so that it loses .alpha",
                only="SD3",
            ),
        ),
        Case(
            Files(),
            Skips(
                f"{_A1111}: a key is cut at its first dot",
                "what stands before the first dot of such names is none of its layers",
            ),
        ),
    ),
    suffixes=_SUFFIXES,
)

_FORGE = "stable-diffusion-webui-forge @ dfdcbab6"
_LORA = f"{_FORGE} packages_3rdparty/comfyui_lora_collection/lora.py:32-213: only .alpha, missing is 1.0"
_NOTE = "where more than 12 tensors of a file mean nothing to it, it applies nothing"


def _read(only: str = "") -> Scales:
    return Scales(
        _LORA,
        (Statement.ALPHA,),
        kinds=_KINDS,
        as_they_are=frozenset({Kind.FULL}),
        cores=True,
        magnitudes=(("dora_scale", Magnitude.APPLIED), ("magnitude", Magnitude.IGNORED)),
        only=only,
        note=_NOTE,
    )


_NO_KEY = Skips(f"{_FORGE} extensions-builtin/sd_forge_lora/networks.py:15-30: keys that its map lacks")
_OTHER_CODE = tuple(f"diffusion_model.{name}." for name in ("blocks", "layers", "transformer_blocks"))

FORGE = Loader(
    "forge",
    "Forge",
    _ARGUMENT,
    (
        Case(Files(begin=("lora_unet_",), ends=WAN_ENDS), _NO_KEY),
        Case(Files(begin=("lora_unet_",), inside=QWEN), _NO_KEY),
        Case(Files(begin=_OTHER_CODE), _NO_KEY),
        Case(
            Files(begin=("lora_unet_", "lora_te", "lycoris_", "diffusion_model.")),
            _read(),
        ),
        Case(Files(conventions=("bfl",)), _read()),
        Case(Files(begin=("transformer.", "lora_transformer_")), _read("Flux")),
        Case(
            Files(begin=("unet.", "text_encoder", "down_blocks.", "mid_block.", "up_blocks.", "lora_prior_")),
            Unsaid("it depends on the kind of model"),
        ),
        Case(Files(), _NO_KEY),
    ),
    suffixes=_SUFFIXES,
)
