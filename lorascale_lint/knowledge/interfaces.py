"""What arguments of libraries' functions mean: which one is a strength, which one is written to a file.

An argument that is a strength multiplies the delta as it is; whatever the adapter's file says of alpha and
rank is applied besides. A rule reads these tables and knows no library by name.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.pipelines import SCALE_KEYWORDS


@immutable(frozen=True, slots=True)
class StrengthArgument:
    """An argument that multiplies the delta as it is; the file must import ``library``.

    ``call`` is the last part of the function's name; empty: any call that has the keyword. ``entry`` is the
    key of the strength in a dictionary that is given. ``integers`` says that people take the argument for
    alpha, so that a number may show the mistake.
    """

    library: str
    call: str
    keywords: tuple[str, ...]
    position: int | None
    entry: str = ""
    integers: bool = False


STRENGTH_ARGUMENTS = (
    # diffusers loaders/lora_base.py: LoraBaseMixin.fuse_lora, set_adapters
    StrengthArgument("diffusers", "fuse_lora", ("lora_scale",), 1),
    StrengthArgument("diffusers", "set_adapters", ("adapter_weights", "weights"), 1),
    # diffusers pipelines: __call__ hands kwargs["scale"] to scale_lora_layers
    StrengthArgument("diffusers", "", SCALE_KEYWORDS, None, entry="scale"),
    # DiffSynth-Studio diffsynth/utils/lora: weight += alpha * up @ down
    StrengthArgument("diffsynth", "load_lora", ("alpha", "lora_alpha"), 2, integers=True),
    # peft tuners/lora/layer.py: LoraLayer.scale_layer, set_scale; tuners/lora/model.py
    StrengthArgument("peft", "scale_layer", ("scale",), 0),
    StrengthArgument("peft", "set_scale", ("scale",), 1),
    StrengthArgument("peft", "add_weighted_adapter", ("weights",), 1),
    # ComfyUI comfy/sd.py
    StrengthArgument("comfy", "load_lora_for_models", ("strength_model",), 3),
    # ComfyUI comfy/model_patcher.py: ModelPatcher.add_patches multiplies each patch
    StrengthArgument("comfy", "add_patches", ("strength_patch",), 1),
    # nunchaku models/transformers/transformer_flux.py
    StrengthArgument("nunchaku", "set_lora_strength", ("strength",), 0),
)
_added: list[StrengthArgument] = []


def add(arguments: Iterable[StrengthArgument]) -> None:
    """Let these be strengths too, in place of those that were added before."""
    _added[:] = arguments


def strength_arguments() -> tuple[StrengthArgument, ...]:
    """Those of the project, and those that are built in."""
    return (*_added, *STRENGTH_ARGUMENTS)


@immutable(frozen=True, slots=True)
class CalledAs:
    """A class method of ``base`` that calls ``method`` of the subclass, with one more argument."""

    base: str
    method: str
    first: str


CALLED_AS = {
    # torch.autograd.Function: apply(*args) runs the static method forward(ctx, *args)
    "apply": CalledAs("torch.autograd.Function", "forward", "ctx"),
}
"""By the name of the method that code calls."""

SCALING_TABLE = "scaling"
"""Field of a layer of peft that holds strength * alpha / rank by adapter: tuners/lora/layer.py, LoraLayer."""

SCALES_TRAINED = StrengthArgument("peft", "set_scale", ("scale",), 1)
"""Sets that entry to alpha / rank times its argument."""

GIVES_SCALED_DELTA = frozenset({"get_delta_weight"})
"""Methods of such layers that give the delta times that entry: tuners/lora/layer.py, Linear."""

PEFT_LAYERS = frozenset({"LoraLayer", "BaseTunerLayer"})
"""Classes of layers of peft that have the table."""


@immutable(frozen=True, slots=True)
class Patch:
    """A tuple by which a library is told a delta: the places of the first factor and of alpha in it."""

    first: int
    alpha: int


PATCHES = {
    # ComfyUI comfy/lora.py, calculate_weight: up, down, alpha, mid, dora_scale, reshape; None is scale 1
    "lora": Patch(0, 2),
}
"""By the word that stands before the tuple."""

PATCH_CLASSES = frozenset({"LoRAAdapter"})
"""Classes that are given such a tuple second: comfy/weight_adapter/lora.py."""

LEAST_ALPHA = 8
"""The least whole number that is taken for an alpha: sliders are used at strengths up to 5 or so."""


def looks_like_alpha(value: float) -> bool:
    """Is this a usual alpha and no usual strength: 8, 16, 32, 48, 64 ...?"""
    return value == LEAST_ALPHA or (value > LEAST_ALPHA and value % 16 == 0)


WRITES_TEXT = frozenset({"dump", "dumps", "safe_dump", "write_text", "save_json", "write_json"})
"""Calls that write settings, by the last part of their name: json.dump, json.dumps, yaml.safe_dump."""

WRITES_TENSORS = frozenset(
    {
        "save_file",
        "save",
        "save_safetensors",
        "save_torch_file",
        "savez",
        "savez_compressed",
        "serialize_file",
    }
)
"""Calls that write tensors: safetensors' save_file, torch.save, mlx's save_safetensors, numpy's savez."""

WRITES_NAMED = frozenset({"savez", "savez_compressed"})
"""Those whose named arguments are entries of the file: numpy, mlx.core."""
PATHS = frozenset({"file", "path", "allow_pickle"})
"""And their arguments that are none."""

WRITES_ENTRY = frozenset({"add_float32", "add_float64"})
"""Methods that put a number under a key into the file that is written: gguf/gguf_writer.py, GGUFWriter."""

PACKS = frozenset({"pack", "pack_into", "add_int32", "add_uint32"})
"""Methods that put numbers into a file or a header as bytes, whole ones too: struct.Struct, GGUFWriter."""

WRITERS = frozenset({"GGUFWriter"})
"""Classes of which an object is such a file: gguf."""

NAMED_TEXTS = {"Keys.Adapter.LORA_ALPHA": "adapter.lora.alpha"}
"""Constants of libraries that are keys, by the end of their dotted name: gguf/constants.py."""

FILE_ALPHAS = (".alpha",)
"""How keys of files end whose alpha every reader divides by the rank: kohya, ComfyUI, gguf."""

WHOLE_STATES = (
    "state_dict(",
    "named_parameters(",
    "named_buffers(",
    ".parameters(",
    "get_peft_model_state_dict(",
)
"""Calls that give whatever a module holds: torch.nn.Module, peft."""

STATE_CALLS = frozenset({"register_buffer", "register_parameter"})
"""Methods that put a tensor into the state of a module: torch.nn.Module."""

STATE_CLASSES = frozenset({"Parameter", "UninitializedParameter"})
"""Classes whose objects, put into a field, are in the state of a module: torch.nn."""

CONFIG_CLASSES = frozenset({"LoraConfig", "LoraConfigData", "LoHaConfig", "LoKrConfig"})
"""Configurations of adapters of peft whose ``save_pretrained`` writes adapter_config.json."""

TURNS_TO_DICTIONARY = frozenset({"vars", "asdict", "model_dump", "dict", "to_dict", "to_container"})
"""Calls that make a dictionary of all settings: Python, dataclasses, pydantic, transformers, omegaconf."""

BUILDS_ADAPTERS = frozenset({"LoraConfig", "get_peft_model"})
"""Calls that take rank, alpha and ``use_rslora``: peft's configuration, unsloth's FastLanguageModel."""

PEFT_ALPHA = "lora_alpha"
"""What peft divides by the rank, in its configuration and in its file: peft/tuners/lora/config.py."""

SETTINGS_KEYS = frozenset(
    {"peft_type", "target_modules", "base_model_name_or_path", "ss_network_module", "ss_network_dim"}
)
"""Keys that only the settings of an adapter file have."""

READS_WHOLE = frozenset({"load_state_dict", "load_weights", "load_lora_weights", "set_peft_model_state_dict"})
"""Calls that take a whole state dict, alpha with the factors, by the last part of their name."""

ALPHA_OF_EXPORTS = {"save_lora_weights": ("_lora_adapter_metadata", "network_alphas")}
"""Calls that write the factors they are given, and the endings of the arguments that bring alpha along.

diffusers loaders: ``save_lora_weights(..., transformer_lora_adapter_metadata=)``.
"""

EXPORTER = "diffusers"
"""The library whose pipelines have these calls."""

FACTOR_GETTERS = frozenset(
    {
        "get_peft_model_state_dict",
        "lora_state_dict",
        "convert_state_dict_to_diffusers",
        "convert_state_dict_to_peft",
        "convert_unet_state_dict_to_peft",
        "convert_state_dict_to_kohya",
    }
)
"""Calls that give the factors of a model and not its alpha: peft.utils, loralib, diffusers.utils.

The last one writes the rank as alpha: diffusers/utils/state_dict_utils.py.
"""

LOADS_FILES = frozenset({"load_lora_weights", "load_lora_adapter"})
"""Calls that make layers of what a file has, with alpha = rank where it has none: diffusers loaders."""

ATTACHES = frozenset({"inject_adapter_in_model", "add_adapter", "get_peft_model"})
"""Calls that put an adapter into a model, by its configuration: peft, diffusers' PeftAdapterMixin."""

WRAPS = frozenset({"get_peft_model"})
"""Those of them that give a model of peft, whose user may load with the same configuration: peft.mapping."""

SAVES_CONFIGURATION = frozenset({"save_pretrained", "save_hyperparameters"})
"""Calls that write a configuration with what they save: peft, transformers; lightning."""

SETTINGS_WORDS = frozenset("config cfg conf args hparams settings options".split())
"""How what holds a program's settings is called, by the last word."""

SAVE_HOOKS = frozenset({"on_save_checkpoint"})
"""Methods that a trainer calls with what it is about to write: lightning."""

TRAINABLE = "requires_grad"
"""The attribute that tells trained parameters from frozen ones: torch.nn.Parameter."""

UPDATES = frozenset({"update", "load_weights"})
"""Calls by which a module gets the tensors that are opened beside it: mlx.nn.Module."""

LOADS_INTO_MODEL = frozenset({"load_state_dict", "set_peft_model_state_dict", "load_lora_state_dict"})
"""Calls that put tensors of a file into layers that are there: torch, peft.utils."""

TRAINS = frozenset(
    {
        "backward",
        "Trainer",
        "SFTTrainer",
        "DPOTrainer",
        "AdamW",
        "Adam",
        "SGD",
        "zero_grad",
        "get_scheduler",
        "fit",
    }
)
"""Calls that only training has, by the last part of their name: torch, transformers, trl, lightning."""


class AdapterStep(StrEnum):
    """What a call does with an adapter of a model as a whole."""

    LOAD = "puts it on"
    MERGE = "merges it into the weights, or gives its delta"
    UNLOAD = "takes it off; the weights are as they were before"
    SAVE = "saves the model"


ADAPTER_STEPS = {
    # peft: PeftModel, LoraModel, LoraLayer; the last part alone where it says enough
    "PeftModel.from_pretrained": AdapterStep.LOAD,
    "PeftModelForCausalLM.from_pretrained": AdapterStep.LOAD,
    "AutoPeftModelForCausalLM.from_pretrained": AdapterStep.LOAD,
    "load_adapter": AdapterStep.LOAD,
    "merge_and_unload": AdapterStep.MERGE,
    "merge_adapter": AdapterStep.MERGE,
    "merge": AdapterStep.MERGE,
    "get_delta_weight": AdapterStep.MERGE,
    "unload": AdapterStep.UNLOAD,
    "_replace_module": AdapterStep.UNLOAD,
    # diffusers: LoraBaseMixin
    "load_lora_weights": AdapterStep.LOAD,
    "fuse_lora": AdapterStep.MERGE,
    "unload_lora_weights": AdapterStep.UNLOAD,
    # transformers, diffusers: PreTrainedModel, DiffusionPipeline
    "save_pretrained": AdapterStep.SAVE,
    "save_model": AdapterStep.SAVE,
    "push_to_hub": AdapterStep.SAVE,
}
"""Calls by ``Class.method`` or, where that is enough, by the method."""

NO_MODEL = frozenset({"tokenizer", "processor", "image_processor", "scheduler", "config"})
"""What else has a ``save_pretrained``."""

ALPHA_FIELD, RANK_FIELD = "lora_alpha", "r"
ALPHAS_FIELD, RANKS_FIELD = "alpha_pattern", "rank_pattern"
"""Fields of peft's LoraConfig, and of its adapter_config.json: one number, and others for some modules."""
FLAG_FIELD = "use_rslora"
DECIDES_SCALE = frozenset({FLAG_FIELD, RANKS_FIELD, ALPHAS_FIELD})
"""What decides the scale of an adapter beside ``r`` and ``lora_alpha``: peft tuners/lora/config.py."""

DEFAULT_ALPHA = 8
"""``lora_alpha`` of peft's LoraConfig where nobody gives it: peft/tuners/lora/config.py."""

DEFAULT_ALPHAS = {"PeftConfig": DEFAULT_ALPHA, "LoraConfig": DEFAULT_ALPHA, "get_peft_model": 16}
"""The same by the call: unsloth's FastLanguageModel.get_peft_model has 16, unsloth/models/llama.py."""

ADAPTER_TYPE = "peft_type"
"""The field without which peft takes a file for no configuration of an adapter: peft/config.py."""

ADAPTER_FIELDS = frozenset(
    "task_type peft_type auto_mapping peft_version base_model_name_or_path revision inference_mode r "
    "target_modules exclude_modules lora_alpha lora_dropout fan_in_fan_out bias use_rslora modules_to_save "
    "init_lora_weights layers_to_transform layers_pattern rank_pattern alpha_pattern megatron_config "
    "megatron_core trainable_token_indices loftq_config eva_config corda_config use_dora use_qalora "
    "qalora_group_size alora_invocation_tokens layer_replication runtime_config lora_bias target_parameters "
    "arrow_config ensure_weight_tying".split()
)
"""All fields of an adapter's configuration as peft 0.21 writes it: tuners/lora/config.py."""

PEFT_ALONE = frozenset("fan_in_fan_out modules_to_save peft_type base_model_name_or_path".split())
"""Fields that only peft writes; ``target_modules`` and ``lora_dropout`` are in settings of trainers too."""

ADAPTER_FILES = ("adapter_config", "base_model.model")
"""The name of the configuration's file, and what peft puts before the keys of every adapter that it saves."""

FETCHES_ADAPTERS = ("snapshot_download", "hf_hub_download", "adapter_model.")
"""Words of code that takes whatever adapter somebody published, or as peft saves it."""

READS_SETTINGS = frozenset({"load", "loads", "from_json_file", "safe_load"})
"""Calls that read settings, by the last part of their name: json.load, yaml.safe_load."""

ASKS_FOR_ANY = ADAPTER_FIELDS - frozenset("r lora_alpha bias revision inference_mode task_type".split())
"""Fields that are read by code that takes adapters as peft writes them, whoever trained them."""

PARAMETERS = {
    "update_layer": ("adapter_name", "r", "lora_alpha", "lora_dropout"),  # LoraLayer, tuners/lora/layer.py
}
"""Methods of peft that people call with arguments by position, by what peft calls these."""

CONFIGURATION_CLASSES = frozenset({"PeftConfig", "LoraConfig"})
"""The classes of such a configuration: peft/config.py, tuners/lora/config.py."""

SETTINGS_NAMES = frozenset("args arguments config cfg conf opt opts options hparams params settings".split())
"""How settings are called; a number of theirs is none of a layer's."""

LAYER_LIBRARIES = frozenset(
    "torch nn keras mlx flax jax tensorflow tf lightning pytorch_lightning abc typing".split()
)
"""Libraries whose classes know nothing of LoRA: what inherits from them is read by its own code alone."""

PLAIN_BASES = frozenset("object ABC Module Layer Linear Generic Protocol Embedding Conv2d Parameter".split())
"""Classes of that kind, by their last name, where the import is not in sight."""

ALPHA_OF_METADATA = "[ss_network_alpha]"
"""Where sd-scripts' files state alpha beside their `.alpha` tensors: networks/lora.py, train_network.py."""
OF_MODELS = ".peft_config"
"""The attribute of a model under which peft keeps the configurations of its adapters: peft_model.py."""

CONFIGURATIONS = frozenset({"peft_config", "lora_config", "adapter_config", "peft_configs", "lora_configs"})
"""How a configuration of peft is called where nobody has its class in sight."""

CALLED_CONFIGURATIONS = frozenset({"config", "configuration", "cfg", "pretrained"})
"""Last words of what may hold one, or of the call that gives it: ``from_pretrained``."""

MESSAGES = frozenset("print debug info warning warn error exception critical log".split())
"""Calls that tell a person something, and do nothing with it (Python's own, and those of `logging`)."""
PEFT_NAMES = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin", "base_model.model.")
"""Files of a PEFT adapter and the prefix of its keys: `lora_alpha` is in its adapter_config.json."""

OPENS_SETTINGS = frozenset(
    {"OmegaConf.load", "yaml.safe_load", "yaml.load", "json.load", "toml.load", "json.loads"}
)
"""Calls that read settings, by their dotted name or its end."""

MODULE_WORDS = frozenset({"alphas", "module", "modules", "map", "dict", "networks", "layers"})
"""Words of parameters that take one alpha for each module: sd-scripts' `modules_alpha`."""
