"""What well-known loaders do with the alpha of a file: a table, one row for each loader and kind of file.

A row holds for files of the conventions that it names, and says nothing of others. `source` cites where the
behaviour was read or measured: a repository at a commit, a thread, or `docs/fastvideo.md` of this project.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from lorascale_lint.adapters.factors import Spelling
from lorascale_lint.adapters.module import Kind


class Missing(StrEnum):
    """What a loader does with a module without alpha."""

    RANK = "takes the rank: scale 1"
    RANK_IF_NONE_HAS_IT = "takes the rank if no module has an alpha"
    REFUSED = "refuses the file"
    DEFAULT_8 = "takes 8"


class Zero(StrEnum):
    """What a loader does with alpha 0."""

    ZERO = "scale 0"
    ONE = "scale 1"


class Divisor(StrEnum):
    """What a loader divides alpha by."""

    ROWS = "the rows of A"
    COLUMNS = "the columns of B"
    SETTINGS = "the one rank of the settings"


class Statement(StrEnum):
    """A place where a loader looks for alpha. The first four are tensors beside the factors."""

    ALPHA = "alpha"
    LORA_ALPHA = "lora_alpha"
    ALPHA_SCALE = "alpha_scale"
    SCALE = "scale"
    STATED = "what the convention states, by module"
    GLOBAL = "the one alpha of the settings, without patterns"


LOW_RANK = frozenset({Kind.LORA, Kind.CONV})
KRONECKER = frozenset({Kind.LOHA, Kind.LOKR, Kind.FULL_LOKR})
MOST = LOW_RANK | KRONECKER | {Kind.GLORA}

_A_B = frozenset({Spelling.A_B, Spelling.BARE_A_B})
_WITH_WEIGHT = frozenset({Spelling.A_B, Spelling.NAMED_A_B})
_KOHYA = ("kohya", "lycoris")
_FASTVIDEO_NAMES = (
    "alpha is kept under FastVideo's own names of modules, and lost (scale 1) under names that it maps "
    "to them, as those of published and original checkpoints"
)
_MODEL_NAMES = ("plain", "diffsynth", "comfy")


@dataclass(frozen=True, slots=True)
class Reading:
    """How a loader reads files of some conventions."""

    conventions: tuple[str, ...]
    source: str
    alpha: tuple[Statement, ...] = ()  # looked for in this order; none: always scale 1
    missing: Missing = Missing.RANK
    zero: Zero = Zero.ZERO
    divisor: Divisor = Divisor.ROWS
    rslora: bool = True  # whether the settings' use_rslora is honoured
    whole: bool = False  # int(alpha)
    squared: frozenset[Kind] = frozenset()  # kinds that are scaled twice
    kinds: frozenset[Kind] = LOW_RANK
    spellings: frozenset[Spelling] | None = None  # None: all that these conventions have
    dora: bool | None = None  # True: honoured, False: refused, None: not known
    loses_renamed: bool = False  # alpha is lost for modules that the loader knows under other names
    skipped: str = ""  # modules with this in their names get no alpha
    one_rank: bool = False  # files with several ranks are refused
    file_name: str = ""  # files of other names are refused
    prefix: str = ""  # what names without it are taken for is not known
    with_alpha: str = ""  # why nothing can be said of files that have `.alpha` tensors
    note: str = ""


@dataclass(frozen=True, slots=True)
class Ignored:
    """Files of which a loader applies nothing, with a warning at most: their names mean none of its layers.

    Only where no model's loader in the package knows such names.
    """

    conventions: tuple[str, ...]
    source: str
    spellings: frozenset[Spelling] | None = None  # None: all that these conventions have
    prefix: str = ""  # only names that begin so


@dataclass(frozen=True, slots=True)
class Loader:
    """A loader, and how its caller chooses a strength."""

    key: str
    title: str
    argument: str  # with {} for the number; empty: the caller has no say
    readings: tuple[Reading, ...]
    note: str = ""
    aliases: tuple[str, ...] = ()
    ignored: tuple[Ignored, ...] = ()


# Names that a loader takes as they are never mean a layer if this is before them.
_PREFIXED = (
    (("peft", "peft-keys"), "base_model.model."),
    (("longcat",), "lora___lorahyphen___"),
    (("lycoris",), "lycoris_"),
)
_IN_FASTVIDEO = (*_PREFIXED, (("kohya",), "lora_"), (("diffusers", "diffusers-plain"), "transformer."))
_FASTVIDEO_IGNORED = tuple(
    Ignored(names, "FastVideo pipelines/lora_pipeline.py: names of no layer are skipped; docs/verification",
            prefix=prefix)
    for names, prefix in _IN_FASTVIDEO
)  # fmt: skip
# lora_A and lora_B at the end of a name, and nothing else, before normalize_lora_key of 0.2.1.
_FASTVIDEO_SPELLINGS = Ignored(
    ("plain", "down-up", "diffsynth", "comfy", "longcat"),
    "FastVideo up to 0.2.0 pipelines/lora_pipeline.py: only .lora_A and .lora_B; docs/verification",
    spellings=frozenset({Spelling.DOWN_UP, Spelling.NAMED_A_B}),
)
_DIFFSYNTH_IGNORED = tuple(
    Ignored(
        names,
        "DiffSynth-Studio lora loaders: names of no layer are skipped; docs/verification",
        prefix=prefix,
    )
    for names, prefix in _PREFIXED
)


LOADERS: tuple[Loader, ...] = (
    Loader(
        "diffsynth-1",
        "DiffSynth-Studio 1.x",
        "alpha={}",
        (
            Reading(
                (*_MODEL_NAMES, "fastvideo", "longcat"),
                "DiffSynth-Studio 1.1.9 lora/__init__.py GeneralLoRALoader.load: alpha * up @ down",
                spellings=_WITH_WEIGHT,
            ),
        ),
        note="`alpha` (`lora_alpha` of ModelManager) is a strength, neither the rank nor the trained alpha",
        ignored=(
            *_DIFFSYNTH_IGNORED,
            Ignored(
                ("down-up",),
                "DiffSynth-Studio 1.1.9 lora/__init__.py get_name_dict: only .lora_B.; docs/verification",
                spellings=frozenset({Spelling.DOWN_UP}),
            ),
        ),
    ),
    Loader(
        "diffsynth-2",
        "DiffSynth-Studio 2.x",
        "alpha={}",
        (
            Reading(
                (*_MODEL_NAMES, "down-up"),
                "DiffSynth-Studio @ fed7b18f utils/lora/general.py: .alpha folded since 237d1787",
                (Statement.ALPHA,),
                spellings=_WITH_WEIGHT | {Spelling.DOWN_UP},
            ),
            Reading(
                ("fastvideo", "longcat"),
                "DiffSynth-Studio @ fed7b18f utils/lora/general.py: no key but .alpha",
                spellings=_WITH_WEIGHT,
            ),
        ),
        note="`alpha` is a strength, neither the rank nor the alpha of the training",
        aliases=("diffsynth",),
        ignored=_DIFFSYNTH_IGNORED,
    ),
    Loader(
        "fastvideo-0.1.6",
        "FastVideo up to 0.1.6, merged",
        "",
        (
            Reading(
                ("fastvideo", "plain", "bare", "comfy", "longcat"),
                "FastVideo#870; measured, docs/fastvideo.md",
                spellings=_A_B,
            ),
        ),
        ignored=(*_FASTVIDEO_IGNORED, _FASTVIDEO_SPELLINGS),
    ),
    Loader(
        "fastvideo-0.1.7",
        "FastVideo 0.1.7 and 0.2.0, merged",
        "",
        (
            Reading(
                ("fastvideo", "plain", "bare", "comfy", "longcat"),
                "FastVideo c0d03fc4: int(lora_alpha), .alpha not read; measured, docs/fastvideo.md",
                (Statement.LORA_ALPHA,),
                zero=Zero.ONE,
                whole=True,
                loses_renamed=True,
                note=_FASTVIDEO_NAMES,
                spellings=_A_B,
            ),
        ),
        ignored=(*_FASTVIDEO_IGNORED, _FASTVIDEO_SPELLINGS),
    ),
    Loader(
        "fastvideo-0.2.1",
        "FastVideo 0.2.1, merged",
        "strength={}",
        (
            Reading(
                ("fastvideo", "plain", "bare", "comfy", "diffsynth", "down-up"),
                "FastVideo 0.2.1 models/loader/lora_patch.py normalize_lora_key; docs/fastvideo.md",
                (Statement.LORA_ALPHA, Statement.ALPHA),
                zero=Zero.ONE,
                whole=True,
                loses_renamed=True,
                note=_FASTVIDEO_NAMES,
                spellings=_A_B | {Spelling.NAMED_A_B, Spelling.DOWN_UP},
            ),
            Reading(
                ("longcat",),
                "FastVideo 0.2.1 models/loader/lora_patch.py: .alpha_scale not read; docs/verification",
                spellings=_A_B,
            ),
        ),
        aliases=("fastvideo",),
        ignored=_FASTVIDEO_IGNORED,
    ),
    Loader(
        "comfyui",
        "ComfyUI",
        "strength_model={}",
        (
            Reading(
                (*_KOHYA, "comfy", "diffusers", "diffusers-plain"),
                "ComfyUI @ a125cd84 comfy/weight_adapter: only .alpha, missing is 1.0; comfyui#6909",
                (Statement.ALPHA,),
                kinds=MOST,
                dora=True,
            ),
        ),
    ),
    Loader(
        "a1111",
        "A1111, Forge, SD.Next",
        "<lora:NAME:{}>",
        (
            Reading(
                _KOHYA,
                "stable-diffusion-webui-forge @ dfdcbab6: .scale before .alpha, missing is 1.0",
                (Statement.SCALE, Statement.ALPHA),
                kinds=MOST,
            ),
        ),
        aliases=("forge", "sdnext"),
    ),
    Loader(
        "diffusers",
        "diffusers",
        "set_adapters(NAMES, {})",
        (
            Reading(
                ("kohya",),
                "diffusers @ 58eb52c0: network_alphas, or folded by converters; diffusers#13998",
                (Statement.ALPHA,),
                Missing.RANK_IF_NONE_HAS_IT,
                skipped="final_layer",
            ),
            Reading(
                ("diffusers",),
                "diffusers#11324: lora_adapter_metadata",
                (Statement.STATED,),
                dora=True,
                divisor=Divisor.COLUMNS,
            ),
            Reading(
                ("diffusers-plain", "diffusers-legacy"),
                "diffusers#14409: alpha is the rank of each module",
                note="before diffusers#14409 (2026-08-10) the rank of the first module is taken for all",
                with_alpha="most pipelines refuse keys without `lora`, as `.alpha`; Flux reads them",
            ),
        ),
    ),
    Loader(
        "sd-scripts",
        "kohya sd-scripts",
        "multiplier={}",
        (
            Reading(
                ("kohya",),
                "sd-scripts @ 48d368fa networks/lora.py: 0 or None is the rank",
                (Statement.ALPHA,),
                zero=Zero.ONE,
            ),
        ),
        aliases=("kohya",),
    ),
    Loader(
        "musubi-tuner",
        "musubi-tuner, merged",
        "multiplier={}",
        (
            Reading(
                ("kohya",),
                "musubi-tuner @ 30c658c: merge takes the rank, the network raises KeyError",
                (Statement.ALPHA,),
                zero=Zero.ONE,
            ),
        ),
    ),
    Loader(
        "lycoris",
        "LyCORIS, merged",
        "multiplier={}",
        (
            Reading(
                _KOHYA,
                "LyCORIS @ f49d30d modules/loha.py, lokr.py get_diff_weight; measured with 4.1.3",
                (Statement.ALPHA,),
                Missing.REFUSED,
                zero=Zero.ONE,
                kinds=LOW_RANK | KRONECKER,
                squared=frozenset({Kind.LOHA, Kind.LOKR}),
                note="merging scales LoHa and LoKr twice; the unmerged forward is right",
            ),
        ),
        ignored=(
            Ignored(
                (
                    "plain",
                    "diffsynth",
                    "fastvideo",
                    "down-up",
                    "bare",
                    "comfy",
                    "longcat",
                    "peft",
                    "peft-keys",
                    "diffusers",
                    "diffusers-plain",
                ),
                "LyCORIS @ f49d30d wrapper.py create_lycoris_from_weights: a name up to its first dot is a "
                "module's; docs/verification",
            ),
        ),
    ),
    Loader(
        "invokeai",
        "InvokeAI",
        "weight={}",
        (
            Reading(
                ("kohya",),
                "InvokeAI @ 8e71a8a5: missing is 1.0",
                (Statement.ALPHA,),
                kinds=LOW_RANK | KRONECKER,
            ),
        ),
    ),
    Loader(
        "peft",
        "PEFT",
        "scale_layer({})",
        (
            Reading(
                ("peft",),
                "peft @ 5d602fdb tuners/lora/layer.py, config.py",
                (Statement.STATED,),
                Missing.DEFAULT_8,
                file_name="adapter_model.safetensors",
                prefix="base_model.model.",
                divisor=Divisor.COLUMNS,
                kinds=MOST,
                dora=True,
            ),
        ),
    ),
    Loader(
        "vllm",
        "vLLM",
        "",
        (
            Reading(
                ("peft",),
                "vllm @ e745baff vllm/lora/peft_helper.py: r and lora_alpha of the settings, no patterns",
                (Statement.GLOBAL,),
                Missing.REFUSED,
                divisor=Divisor.SETTINGS,
                dora=False,
                kinds=frozenset({Kind.LORA}),
            ),
        ),
    ),
    Loader(
        "sglang",
        "SGLang (language models)",
        "",
        (
            Reading(
                ("peft",),
                "sglang @ db2a4cc1 python/sglang/srt/lora/lora.py: lora_alpha / r; sglang#40835",
                (Statement.GLOBAL,),
                Missing.REFUSED,
                divisor=Divisor.SETTINGS,
                rslora=False,
                kinds=frozenset({Kind.LORA}),
            ),
        ),
    ),
    Loader(
        "lmdeploy",
        "LMDeploy, S-LoRA",
        "",
        (
            Reading(
                ("peft",),
                "lmdeploy @ 1263d5cd pytorch/adapter/adapter.py, S-LoRA @ c1ddf48: lora_alpha / r",
                (Statement.GLOBAL,),
                Missing.REFUSED,
                divisor=Divisor.SETTINGS,
                rslora=False,
                kinds=frozenset({Kind.LORA}),
            ),
        ),
    ),
    Loader(
        "llama.cpp",
        "llama.cpp, after convert_lora_to_gguf.py",
        "--lora-scaled FILE:{}",
        (
            Reading(
                ("peft",),
                "llama.cpp @ 0b03adaa convert_lora_to_gguf.py: one lora_alpha for the file, as it is",
                (Statement.GLOBAL,),
                Missing.REFUSED,
                zero=Zero.ONE,
                divisor=Divisor.COLUMNS,
                rslora=False,
                kinds=frozenset({Kind.LORA}),
            ),
        ),
    ),
    Loader(
        "longcat",
        "LongCat-Video",
        "multiplier={}",
        (
            Reading(
                ("longcat",),
                "LongCat-Video @ 6b3f4b8 modules/longcat_video_dit.py load_lora: strict, so .alpha_scale "
                "of the file replaces what modules/lora_utils.py computed; docs/verification",
                (Statement.ALPHA_SCALE,),
                Missing.REFUSED,
                one_rank=True,
                spellings=frozenset({Spelling.DOWN_UP}),
            ),
        ),
        note="`lora_network_alpha` is an alpha, and the file's `.alpha_scale` replaces it",
    ),
    Loader(
        "lightx2v",
        "LightX2V",
        "strength={}",
        (
            Reading(
                ("down-up",),
                "LightX2V @ f8aee98b: .alpha of the layer; without it 1, or the alpha of its settings",
                (Statement.ALPHA,),
                zero=Zero.ONE,
            ),
        ),
    ),
    Loader(
        "videox-fun",
        "VideoX-Fun",
        "multiplier={}",
        (
            Reading(
                ("kohya",),
                "VideoX-Fun @ 804a425: merge_lora, alpha over the columns of B, missing is 1",
                (Statement.ALPHA,),
                divisor=Divisor.COLUMNS,
            ),
        ),
    ),
    Loader(
        "x-flux",
        "x-flux",
        "lora_weight={}",
        (Reading(("xlabs",), "x-flux @ 4749542: network_alpha None, no scaling"),),
    ),
    Loader(
        "mlx-lm",
        "mlx-lm",
        "",
        (
            Reading(
                ("mlx",),
                "mlx-lm @ d78bf58e tuner/lora.py; mlx-examples c457a3f8",
                (Statement.STATED,),
                Missing.REFUSED,
                note="before mlx-examples c457a3f8 (2024-06-02) scale is multiplied by alpha / rank too",
            ),
        ),
    ),
    Loader(
        "litgpt",
        "litgpt",
        "",
        (
            Reading(
                ("litgpt",),
                "litgpt @ 26857050 scripts/merge_lora.py: lora_* of hyperparameters.yaml",
                (Statement.STATED,),
                Missing.REFUSED,
                divisor=Divisor.COLUMNS,
            ),
        ),
    ),
)


def loader_named(name: str) -> Loader | None:
    """The loader with this key or alias."""
    wanted = name.lower()
    return next((item for item in LOADERS if wanted == item.key or wanted in item.aliases), None)
