"""The conventions of adapter files: how keys are built, where alpha is, and which parts decide the scale.

A key is `prefix + module + "." + suffix`. Whoever reads some of the `scale_parts` of a convention and the
factors must use, refuse or pass on the others.
"""

from __future__ import annotations

from enum import StrEnum

from lorascale_lint.immutable import immutable


class Where(StrEnum):
    """A place that can state alpha, or the scale itself."""

    TENSOR = "a tensor beside the factors"
    SETTINGS = "settings beside the file"
    METADATA = "metadata of the file"
    ARGUMENT = "an argument of the program that loads it"


class Meaning(StrEnum):
    """What the number that is stated means for a module of rank r."""

    ALPHA = "alpha: the scale is alpha / r"
    SCALE = "the scale itself"


class MissingAlpha(StrEnum):
    """The scale of a module for which no alpha is stated."""

    RANK = "alpha is the module's rank: scale 1"
    EIGHT = "alpha is 8, the default of PEFT's configuration"
    SCALE_20 = "scale 20, the default of mlx-lm's layers"
    IN_THE_RUN = "known only from the settings of the training"


@immutable(frozen=True, slots=True)
class Pair:
    """The suffixes of A (down, rank x in) and B (up, out x rank); `{}` is a name or a number."""

    down: str
    up: str


@immutable(frozen=True, slots=True)
class Alpha:
    """One place of alpha: the suffix of a tensor, a field of settings, or a key of metadata."""

    where: Where
    key: str
    meaning: Meaning = Meaning.ALPHA


@immutable(frozen=True, slots=True)
class Convention:
    """One way to write an adapter file. Tuples are in the order in which their parts are preferred."""

    name: str
    title: str
    source: str
    pairs: tuple[Pair, ...]
    prefixes: tuple[str, ...] = ("",)
    dot: str = "."  # what stands for the dots of a module's name
    alpha: tuple[Alpha, ...] = ()  # empty: nothing in the file or beside it states one
    missing: MissingAlpha = MissingAlpha.RANK
    scale_parts: tuple[str, ...] = ()  # everything beside A and B that decides a module's scale or its norm
    magnitude: tuple[str, ...] = ()  # DoRA's magnitude
    core: tuple[str, ...] = ()  # a tensor between the factors
    bias: tuple[str, ...] = ()  # biases of B, scaled like the delta
    settings_file: str = ""
    transposed: bool = False  # A lies as in x rank, B as rank x out
    home: tuple[str, ...] = ()  # the loaders that it was made for, by their keys


A_B = Pair("lora_A.weight", "lora_B.weight")
NAMED_A_B = Pair("lora_A.{}.weight", "lora_B.{}.weight")
BARE_A_B = Pair("lora_A", "lora_B")
DOWN_UP = Pair("lora_down.weight", "lora_up.weight")
SMALL_A_B = Pair("lora_a", "lora_b")
SMALL_A_B_WEIGHT = Pair("lora_a.weight", "lora_b.weight")
LORA_DOWN_UP = Pair("lora.down.weight", "lora.up.weight")
LAYER_DOWN_UP = Pair("lora_linear_layer.down.weight", "lora_linear_layer.up.weight")
PROCESSOR_DOWN_UP = Pair("{}_lora.down.weight", "{}_lora.up.weight")
NUMBERED_DOWN_UP = Pair("processor.{}_lora{}.down.weight", "processor.{}_lora{}.up.weight")
EMBEDDING = Pair("lora_embedding_A", "lora_embedding_B")
IN_OUT = Pair("adapter.linear_in.weight", "adapter.linear_out.weight")
LOHA = (Pair("hada_w1_b", "hada_w1_a"), Pair("hada_w2_b", "hada_w2_a"))
LOKR = (Pair("lokr_w1_b", "lokr_w1_a"), Pair("lokr_w2_b", "lokr_w2_a"), Pair("lokr_w1", "lokr_w2"))
GLORA = (Pair("a1.weight", "a2.weight"), Pair("b1.weight", "b2.weight"))

_TENSOR = Alpha(Where.TENSOR, "alpha")
# One alpha for the file, as a string: what programs are known to write whatever the layout.
METADATA_ALPHA = ("alpha", "lora_alpha", "network_alpha")
_METADATA = tuple(Alpha(Where.METADATA, key) for key in METADATA_ALPHA)
_SS_METADATA = Alpha(Where.METADATA, "ss_network_alpha")
_PEFT_SETTINGS = ("r", "lora_alpha", "use_rslora", "rank_pattern", "alpha_pattern", "use_dora", "lora_bias")
_CORES = ("lora_mid.weight", "hada_t1", "hada_t2", "lokr_t2")

CONVENTIONS: tuple[Convention, ...] = (
    Convention(
        "longcat", "LongCat",
        "LongCat-Video @ 6b3f4b8 longcat_video/modules/lora_utils.py",
        (Pair("lora_down.weight", "lora_up.weight"), Pair("lora_down.weight", "lora_up.blocks.{}.weight")),
        prefixes=("lora___lorahyphen___",), dot="___lorahyphen___",
        alpha=(Alpha(Where.TENSOR, "alpha_scale", Meaning.SCALE),),
        missing=MissingAlpha.IN_THE_RUN,
        scale_parts=("alpha_scale",),
        home=("longcat",),
    ),
    Convention(
        "mlx", "mlx-lm",
        "mlx-lm @ d78bf58e mlx_lm/tuner/lora.py LoRALinear, tuner/utils.py load_adapters",
        (SMALL_A_B,),
        alpha=(Alpha(Where.SETTINGS, "lora_parameters.scale", Meaning.SCALE),),
        missing=MissingAlpha.SCALE_20,
        scale_parts=("lora_parameters.scale", "lora_parameters.rank", "fine_tune_type", "m"),
        magnitude=("m",), settings_file="adapter_config.json", transposed=True,
        home=("mlx-lm",),
    ),
    Convention(
        "torchtune", "torchtune",
        "torchtune @ bd2a0fc7 models/convert_weights.py tune_to_peft_adapter_config",
        (SMALL_A_B_WEIGHT,),
        alpha=(Alpha(Where.SETTINGS, "lora_alpha"),),
        missing=MissingAlpha.IN_THE_RUN,
        scale_parts=("r", "lora_alpha", "magnitude"),
        magnitude=("magnitude",), settings_file="adapter_config.json",
    ),
    Convention(
        "peft", "PEFT directory",
        "peft @ 5d602fdb src/peft/tuners/lora/config.py LoraConfig, layer.py update_layer",
        (A_B, EMBEDDING, *LOHA, *LOKR),
        prefixes=("base_model.model.",),
        alpha=(Alpha(Where.SETTINGS, "lora_alpha"), Alpha(Where.SETTINGS, "alpha_pattern"),
               Alpha(Where.SETTINGS, "alpha")),
        missing=MissingAlpha.EIGHT,
        scale_parts=_PEFT_SETTINGS,
        magnitude=("lora_magnitude_vector", "lora_magnitude_vector.weight"), bias=("lora_B.bias",),
        settings_file="adapter_config.json",
        home=("peft", "vllm", "sglang", "llama.cpp"),
    ),
    Convention(
        "diffusers", "diffusers",
        "diffusers#11324: lora_adapter_metadata, PEFT's configuration with the component before each field",
        (A_B,),
        prefixes=("transformer.", "unet.", "text_encoder.", "text_encoder_2.", ""),
        alpha=(Alpha(Where.METADATA, "lora_adapter_metadata: lora_alpha"),
               Alpha(Where.METADATA, "lora_adapter_metadata: alpha_pattern")),
        scale_parts=_PEFT_SETTINGS,
        magnitude=("lora_magnitude_vector", "lora_magnitude_vector.weight"), bias=("lora_B.bias",),
        home=("diffusers", "diffusers-flux", "diffusers-flux2", "diffusers-qwen", "diffusers-wan"),
    ),
    Convention(
        "fastvideo", "FastVideo",
        "FastVideo @ 2f3d4074 fastvideo/pipelines/lora_pipeline.py set_lora_adapter",
        (BARE_A_B, A_B),
        prefixes=("", "diffusion_model."),
        alpha=(Alpha(Where.TENSOR, "lora_alpha"),),
        scale_parts=("lora_alpha", "lora_rank"),
        home=("fastvideo-0.2.1",),
    ),
    Convention(
        "litgpt", "litgpt",
        "litgpt @ 26857050 litgpt/lora.py, scripts/merge_lora.py load_lora_metadata",
        (BARE_A_B,),
        alpha=(Alpha(Where.SETTINGS, "lora_alpha"),),
        missing=MissingAlpha.IN_THE_RUN,
        scale_parts=("lora_r", "lora_alpha"),
        settings_file="hyperparameters.yaml",
        home=("litgpt",),
    ),
    Convention(
        "megatron", "Megatron / NeMo",
        "field survey: `dim` and `alpha` (32; DoRA 64) are in the run's configuration, not in the file",
        (IN_OUT,),
        missing=MissingAlpha.IN_THE_RUN,
        scale_parts=("dim", "alpha"),
    ),
    Convention(
        "xlabs", "XLabs",
        "x-flux @ 4749542 src/flux/modules/layers.py LoRALinearLayer: network_alpha None",
        (NUMBERED_DOWN_UP,),
        home=("x-flux",),
    ),
    Convention(
        "bfl", "BFL control LoRA",
        "flux @ 802fb47 src/flux/modules/lora.py LinearLora: `scale` multiplies",
        (A_B,), bias=("lora_B.bias",),
    ),
    Convention(
        "kohya", "kohya",
        "sd-scripts @ 48d368fa networks/lora.py LoRAModule",
        (DOWN_UP, *LOHA, *LOKR, *GLORA),
        prefixes=("lora_unet_", "lora_te_", "lora_te1_", "lora_te2_", "lora_te3_", "lora_prior_",
                  "lora_transformer_"),
        dot="_",
        alpha=(Alpha(Where.TENSOR, "scale", Meaning.SCALE), _TENSOR, _SS_METADATA, *_METADATA),
        scale_parts=("alpha", "dora_scale", "scale"),
        magnitude=("dora_scale",), core=_CORES,
        home=("sd-scripts", "musubi-tuner", "comfyui", "a1111", "forge"),
    ),
    Convention(
        "lycoris", "LyCORIS",
        "LyCORIS @ f49d30d lycoris/modules/locon.py, loha.py, lokr.py",
        (DOWN_UP, *LOHA, *LOKR, *GLORA),
        prefixes=("lycoris_",), dot="_",
        alpha=(_TENSOR, _SS_METADATA, *_METADATA),
        scale_parts=("alpha", "dora_scale"),
        magnitude=("dora_scale",), core=_CORES,
        home=("lycoris", "comfyui"),
    ),
    Convention(
        "comfy", "ComfyUI style",
        "field survey: names of ComfyUI's model, `.alpha` if the program that wrote the file writes one",
        (A_B, DOWN_UP, *LOHA, *LOKR),
        prefixes=("diffusion_model.",),
        alpha=(_TENSOR, *_METADATA),
        scale_parts=("alpha", "dora_scale"),
        magnitude=("dora_scale",), core=_CORES,
        home=("comfyui",),
    ),
    Convention(
        "peft-keys", "PEFT names in a single file",
        "peft @ 5d602fdb src/peft/utils/save_and_load.py: alpha is in adapter_config.json alone",
        (A_B, EMBEDDING),
        prefixes=("base_model.model.",),
        alpha=_METADATA,
        scale_parts=("lora_magnitude_vector", "lora_magnitude_vector.weight"),
        magnitude=("lora_magnitude_vector", "lora_magnitude_vector.weight"), bias=("lora_B.bias",),
    ),
    Convention(
        "diffusers-legacy", "diffusers, legacy names",
        "diffusers#6087: LoRAs before the metadata have no alpha",
        (PROCESSOR_DOWN_UP, LORA_DOWN_UP, LAYER_DOWN_UP),
        prefixes=("unet.", "text_encoder.", ""),
        alpha=_METADATA,
        home=("diffusers",),
    ),
    Convention(
        "diffusers-plain", "diffusers without metadata",
        "diffusers#11324: before it alpha is lost, and the reader takes the rank",
        (A_B, DOWN_UP),
        prefixes=("transformer.", "unet.", "text_encoder.", "text_encoder_2.", "transformer_2.", "prior."),
        alpha=(_TENSOR, *_METADATA),
        scale_parts=("alpha", "lora_magnitude_vector", "lora_magnitude_vector.weight"),
        magnitude=("lora_magnitude_vector", "lora_magnitude_vector.weight", "magnitude"),
        home=("diffusers", "diffusers-flux", "diffusers-flux2", "diffusers-qwen", "diffusers-wan"),
    ),
    Convention(
        "diffsynth", "DiffSynth-Studio",
        "DiffSynth-Studio @ fed7b18f diffsynth/utils/lora/general.py",
        (NAMED_A_B,),
        alpha=(_TENSOR, *_METADATA),
        scale_parts=("alpha",),
        home=("diffsynth-2",),
    ),
    Convention(
        "down-up", "lora_down and lora_up under the model's own names",
        "LightX2V @ f8aee98b lightx2v/utils/lora_loader.py",
        (DOWN_UP,),
        alpha=(_TENSOR, *_METADATA),
        scale_parts=("alpha", "dora_scale"),
        magnitude=("dora_scale",), core=("lora_mid.weight",),
        home=("lightx2v", "diffsynth-2"),
    ),
    Convention(
        "plain", "lora_A and lora_B under the model's own names",
        "peft @ 5d602fdb src/peft/utils/save_and_load.py get_peft_model_state_dict of an injected model",
        (A_B, EMBEDDING),
        alpha=(_TENSOR, *_METADATA),
        scale_parts=("alpha",),
        magnitude=("lora_magnitude_vector", "lora_magnitude_vector.weight"), bias=("lora_B.bias",),
        home=("diffsynth-2", "fastvideo-0.2.1"),
    ),
    Convention(
        "bare", "lora_A and lora_B without .weight",
        "field survey: Mochi's files",
        (BARE_A_B,),
        alpha=(_TENSOR, *_METADATA),
        scale_parts=("alpha",),
        home=("fastvideo-0.2.1",),
    ),
    Convention(
        "lycoris-plain", "LyCORIS factors under the model's own names",
        "field survey: LoHa, LoKr and full differences with the model's dots",
        (*LOHA, *LOKR, *GLORA),
        alpha=(_TENSOR, *_METADATA),
        scale_parts=("alpha", "dora_scale"),
        magnitude=("dora_scale",), core=_CORES,
    ),
    Convention(
        "gguf", "GGUF adapter",
        "field survey: llama.cpp's `adapter.lora.alpha`, one float32 for the file",
        (SMALL_A_B,),
        alpha=(Alpha(Where.METADATA, "adapter.lora.alpha"),),
        scale_parts=("adapter.lora.alpha",),
        home=("llama.cpp",),
    ),
)  # fmt: skip


def convention_named(name: str) -> Convention:
    """The convention of that name. Raises KeyError."""
    return _BY_NAME[name]


_BY_NAME = {item.name: item for item in CONVENTIONS}

ALPHA_SUFFIXES = tuple(
    dict.fromkeys(
        alpha.key
        for item in CONVENTIONS
        for alpha in item.alpha
        if alpha.where is Where.TENSOR and alpha.key.endswith(("alpha", "alpha_scale"))
    )
)
"""How the conventions call the alpha of a module: the last part of its key."""

STATES_ALPHA = ("diffusion_model.", "lora_unet", "lora_te", "lora_down", "lora_up", ".lora_down", ".lora_up")
"""Beginnings of keys of kohya, ComfyUI and their kin, whose files state alpha as ``.alpha``."""
WEIGHT = ".weight"
"""How the keys of factors that are modules end; those of alphas never do."""
