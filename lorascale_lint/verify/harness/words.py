"""Which names of parameters and attributes mean what, to a harness that has nothing else to go by.

The words of factors, bases and numbers are those of the analysis (`knowledge.roles`); here are those that
matter only to somebody who has to call the code.
"""

from __future__ import annotations

from lorascale_lint.knowledge import roles
from lorascale_lint.verify.harness.description import Role, Value

_MEANT = {
    roles.A: Role.A,
    roles.B: Role.B,
    roles.BASE: Role.BASE,
    roles.ALPHA: Role.ALPHA,
    roles.RANK: Role.RANK,
    roles.SCALING: Role.SCALE,
    roles.STRENGTH: Role.STRENGTH,
    # A strength or a whole scale: nobody else knows either.
    roles.MULTIPLIER: Role.SCALE,
}

_NAMES: dict[Role, frozenset[str]] = {
    Role.BASE: frozenset(
        "w base base_module linear layer module original original_layer original_linear original_weight "
        "org orig org_layer target target_module target_weight model_weight linear_layer base_linear mod "
        "tensor param".split()
    ),
    Role.INPUT: frozenset(
        "x input inputs hidden_states hidden_state tokens input_ids ids activations features input_ "
        "input_tensor hidden inp".split()
    ),
    Role.BIAS: frozenset(["bias"]),
    Role.STRENGTH: frozenset(
        "lora_scale lora_weight adapter_weight weight_scale ratio scale_weight merge_ratio "
        "lora_multiplier s".split()
    ),
    Role.IN_FEATURES: frozenset(
        "in_features input_features input_dim in_dim dim_in in_size input_size input_dims in_channels "
        "num_embeddings d_in in_feature fan_in n_in".split()
    ),
    Role.OUT_FEATURES: frozenset(
        "out_features output_features output_dim out_dim dim_out out_size output_size output_dims "
        "out_channels embedding_dim d_out out_feature fan_out n_out".split()
    ),
    Role.ADAPTER: frozenset("adapter adapter_name active_adapter lora_name adapter_id nickname".split()),
}

CONFIGURATION = frozenset(
    "config cfg args lora_config peft_config lora_args adapter_config conf opt hparams lora_cfg".split()
)
# What such an object is asked for, under the names that are usual.
FIELDS: dict[str, Role | float | bool | str | None] = {
    **dict.fromkeys(("r", "rank", "lora_rank", "lora_r", "lora_dim"), Role.RANK),
    **dict.fromkeys(("alpha", "lora_alpha", "network_alpha"), Role.ALPHA),
    **dict.fromkeys(("dropout", "lora_dropout", "module_dropout", "rank_dropout"), 0.0),
    **dict.fromkeys(
        ("use_rslora", "use_dora", "fan_in_fan_out", "bias", "lora_bias", "merge_weights"), False
    ),
    "init_lora_weights": True,
    "device": "cpu",
    "dtype": None,
}
# Numbers and flags that leave the delta alone.
HARMLESS: dict[str, float | bool | str | None] = {
    **dict.fromkeys(("dropout", "lora_dropout", "dropout_p", "module_dropout", "rank_dropout", "p"), 0.0),
    **dict.fromkeys(("use_rslora", "use_dora", "fan_in_fan_out", "lora_bias", "merge_weights"), False),
    "device": "cpu",
    "safe_merge": False,
    "verbose": False,
    "kernel_size": 3,
    **dict.fromkeys(("prefix", "name", "module_name", "layer_name"), "layer"),
    "dtype": None,
}
# Last words of names of texts.
TEXTS = frozenset({"name", "prefix", "key", "path", "id"})
# Words of the sizes of a layer; those of names that are one number for both of its sides.
OF_INPUTS = frozenset({"in", "input", "inputs", "inp"})
OF_OUTPUTS = frozenset({"out", "output", "outputs"})
OF_BOTH = frozenset("dim dims hidden embed embd emb model features feature size width d channels".split())
HEADS = frozenset({"heads", "head", "nhead"})
# One of what there may be many of: experts, tasks.
COUNTS = frozenset({"n", "num", "number", "count", "max"})
# Of what factors are before anybody trains them.
OF_STARTS = frozenset({"init", "initial", "std"})
LAYERS = frozenset("layer linear module conv embedding block proj projection dense fc".split())
# Which part of a fused layer a name speaks of.
FUSED = {"q": 0, "query": 0, "k": 1, "key": 1, "v": 2, "value": 2}
TABLES = frozenset(
    "state_dict sd lora_sd lora_state_dict lora_weights lora lora_dict adapter_state_dict "
    "adapter_weights weights_sd model_sd model_state_dict base_sd base_state_dict lora_params "
    "state_dict_lora lora_tensors".split()
)
BASE_TABLES = frozenset("model_sd model_state_dict base_sd base_state_dict state_dict_base model".split())
# Of a method that is given inputs before it.
BASE_OUTPUTS = frozenset(
    "out output result base_output base_out org_out original_output y orig_out residual".split()
)
# Of a method that is told whose adapter each input wants.
NAMES_OF_INPUTS = frozenset("adapter_names lora_names adapters_per_sample active_adapters".split())
FILES = frozenset(
    "path file filename lora_path lora_file lora_filename ckpt_path adapter_path adapter_file weights_path "
    "lora_weights_path input_path input_file src src_path source_path model_path lora_ckpt input_lora "
    "input_lora_path pretrained_lora_path lora_model_path safetensors_path src_lora".split()
)
OUTPUTS = frozenset(
    "output output_path output_file out_path out_file dst dst_path save_path save_file save_to target_path "
    "destination output_lora_path dst_lora out".split()
)
# Which parts of a fused layer have an adapter.
PARTS = {"enable_lora": [True, False, True]}
# Into how many blocks a Kronecker product is split: with 1 it is the product of the other two factors.
DECOMPOSED = frozenset({"factor", "decompose_factor"})
# A rank, unless there is one beside it.
SIZES = frozenset({"dim", "dims", "size"})
SHAPES = frozenset({"shape", "weight_shape", "base_shape"})
MODELS = frozenset("model unet transformer network dit denoiser text_encoder net module_tree".split())
MERGE = ("merge", "merge_weights", "merge_lora", "merge_lora_weights", "merge_adapter", "fuse", "fuse_lora")
UNMERGE = ("unmerge", "unmerge_weights", "unmerge_lora", "unmerge_lora_weights", "unfuse", "unfuse_lora")
# Modules of kohya's kind take the place of a layer before they work.
PREPARE = ("apply_to",)
SETTERS = (
    "set_lora_weights set_lora set_lora_adapter load_lora set_weights set_factors set_adapter "
    "update_layer load_lora_weights"
).split()
# Which of two things a method is told to do.
MODES = frozenset({"mode", "flag", "merge", "enable", "enabled", "state"})
# First words of methods that make an adapter in a layer.
STARTS = frozenset(
    {"add", "new", "create", "init", "attach", "inject", "enable", "register", "set", "update"}
)
STRENGTHS = (
    "set_scale",
    "set_strength",
    "set_multiplier",
    "set_lora_scale",
    "set_lora_strength",
    "scale_layer",
)


def role_of(name: str) -> Role | None:
    """What a parameter or attribute of that name is, or one of several (`strength2`); None: nobody knows."""
    return _role_of(name) or _role_of(name.rstrip("_0123456789"))


def _role_of(name: str) -> Role | None:
    meant = _MEANT.get(roles.role_of(name, lora_context=True) or "")
    if meant in (Role.A, Role.B):
        return meant
    # Somebody who calls the code has fewer things in mind than one who reads it.
    return next((role for role, names in _NAMES.items() if name.lower() in names), meant)


def is_table(name: str) -> bool:
    """Whether a parameter takes tensors by their keys."""
    plain = name.rstrip("_0123456789")
    return plain in TABLES or plain.endswith(("state_dict", "_sd", "lora_weights", "adapter_weights"))


def is_of_adapters(name: str) -> bool:
    """Whether a name speaks of an adapter, as `lora1` does."""
    return not {"lora", "loras", "adapter", "adapters"}.isdisjoint(roles.words(name))


def is_dropout(name: str) -> bool:
    """Whether it is how much is dropped while something is trained."""
    return "dropout" in roles.words(name)


def field_of(name: str) -> Role | float | bool | str | None:
    """What a field of a configuration is, under its usual name or one like it (`lora_r_`)."""
    plain = name.strip("_")
    if plain in FIELDS:
        return FIELDS[plain]
    role = role_of(plain)
    return role if role in (Role.ALPHA, Role.RANK) else 0.0 if is_dropout(plain) else None


def started_with(name: str) -> Value | None:
    """What somebody is given who makes an adapter; None: nobody knows."""
    role = role_of(name)
    if role in (Role.ADAPTER, Role.RANK, Role.ALPHA, Role.SCALE):
        return Value(role)
    if is_dropout(name) or name in HARMLESS:
        return Value(Role.LITERAL, literal=0.0 if is_dropout(name) else HARMLESS[name])
    return Value(Role.ADAPTER) if TEXTS & {*roles.words(name)[-1:]} else None


def side_of(name: str) -> Role | None:
    """Which factor a name speaks of that ends in the letter of one (`vera_A`), or its part's (`new_A_v`)."""
    *_, last = [word for word in roles.words(name) if word not in FUSED] or ("",)
    return {"a": Role.A, "b": Role.B}.get(last)
