"""Which names mean what: strong names alone, weak ones in LoRA code, look-alikes never."""

from __future__ import annotations

import pytest

from lorascale_lint.knowledge.roles import key_role, role_of, words
from lorascale_lint.knowledge.speech import speaks_of_lora

STRONG = {
    "A": (
        "lora_A",
        "lora_down",
        "loraA",
        "lora_a_weight",
        "q_lora_A",
        "lora_down_weight",
        "lora_As",
        "hada_w1_b",
    ),
    "B": ("lora_B", "lora_up", "loraB", "self_lora_b", "lora_up_proj_B", "hada_w2_a", "lora_B_stacked"),
    "alpha": (
        "kt_lora_alpha",
        "lora_alpha",
        "network_alpha",
        "loraAlpha",
        "network_alphas",
        "conv_alpha",
        "default_lora_alpha",
    ),
    "rank": (
        "expert_lora_rank",
        "lora_rank",
        "lora_r",
        "lora_dim",
        "network_dim",
        "max_lora_rank",
        "adapter_rank",
    ),
    "scaling": ("lora_scaling", "lora_alpha_scale", "lora_scaling_factor"),
    "strength": ("strength_model", "lora_strength", "adapter_weights"),
    "multiplier": ("lora_scale", "lora_scales"),
    "magnitude": ("dora_scale", "lora_magnitude_vector"),
    "delta": ("delta_weight", "get_delta_weight", "lora_delta", "updown"),
    "kronecker": ("lokr_w1", "lokr_w2"),
    "dropout": ("lora_dropout", "dropout_p"),
}
WEAK = {
    "A": ("down", "A", "down_weight", "w1b", "w_a"),
    "B": ("up", "B", "up_weight", "w1a", "w_b"),
    "alpha": ("alpha", "alphas", "default_alpha", "ALPHA"),
    "rank": ("rank", "r", "dim"),
    "scaling": ("scaling", "scaling_factor"),
    "strength": ("strength", "multiplier", "ratio"),
    "multiplier": ("scale", "s"),
    "base": ("weight", "base_layer", "org_module"),
    "gate": ("gate", "scalar"),
}
NEITHER = (
    "out_dim",
    "in_dim",
    "head_dim",
    "num_ranks",
    "alphas_cumprod",
    "alpha_bar",
    "lora_A_scale",
    "lora_b_bias",
    "lora_A_name",
    "lora_up_keys",
    "use_lora_A",
    "use_lora_alpha",
    "download",
    "upsample",
    "downsample",
    "update",
    "backup",
    "key",
    "x",
    "",
    "hidden_states",
    "world_size",
)


def rows(table: dict[str, tuple[str, ...]]) -> list[tuple[str, str]]:
    return [(name, role) for role, names in table.items() for name in names]


@pytest.mark.parametrize(("name", "role"), rows(STRONG))
def test_strong_names_mean_the_same_anywhere(name: str, role: str) -> None:
    assert role_of(name, False) == role_of(name, True) == role


@pytest.mark.parametrize(("name", "role"), rows(WEAK))
def test_weak_names_need_lora_code_around_them(name: str, role: str) -> None:
    assert role_of(name, False) is None
    assert role_of(name, True) == role


@pytest.mark.parametrize("name", NEITHER)
def test_names_that_only_look_alike(name: str) -> None:
    assert role_of(name, False) is None
    assert role_of(name, True) is None


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("lora_A", ("lora", "a")),
        ("loraAlpha", ("lora", "alpha")),
        ("hada_w1_a", ("hada", "w1", "a")),
        ("LORA_RANK", ("lora", "rank")),
        ("_", ()),
    ],
)
def test_words(name: str, parts: tuple[str, ...]) -> None:
    assert words(name) == parts


@pytest.mark.parametrize(
    ("key", "role"),
    [
        ("lora_unet_mid_block_attn1_to_q.lora_down.weight", "A"),
        ("base_model.model.layers.0.q_proj.lora_B.default.weight", "B"),
        ("unet.up_blocks.0.lora.down.weight", "A"),
        ("blocks.0.lora_up.weight", "B"),
        ("lora_te_text_model_mlp_fc1.alpha", "alpha"),
        ("x.hada_w1_a", "B"),
        ("x.hada_w1_b", "A"),
        ("x.lokr_w1", "kronecker"),
        ("x.dora_scale", "magnitude"),
        ("x.lora_magnitude_vector", "magnitude"),
        ("x.diff", "diff"),
        ("x.diff_b", "diff"),
        ("blocks.0.attn.to_q.weight", None),
        ("down_blocks.0.attentions.weight", None),
        ("up_blocks.0.resnets.bias", None),
        ("a sentence about lora_A", None),
        ("--lora_scaling", None),  # an option of a program
    ],
)
def test_the_role_of_a_key(key: str, role: str | None) -> None:
    assert key_role(key) == role


@pytest.mark.parametrize(
    "text", ["class LoRALayer", "lokr_w1", "import peft", "lycoris", "hada_w1_a", "DoRA"]
)
def test_lora_code(text: str) -> None:
    assert speaks_of_lora(text)


@pytest.mark.parametrize(
    "text", ["self.kv_lora_rank", "config.q_lora_rank", '"kv_lora_rank",', "o_lora_rank = 8"]
)
def test_the_rank_of_latent_attention_is_no_adapter(text: str) -> None:
    assert not speaks_of_lora(text)
    assert speaks_of_lora(f"{text}\nq_lora_alpha = 1")


@pytest.mark.parametrize(
    "text",
    [
        "recursive exploration",
        "exploratory factors",
        "University of Colorado",
        "flora",
        "Fedora 41",
        "Pandora",
    ],
)
def test_other_words_are_no_adapters(text: str) -> None:
    assert not speaks_of_lora(text)


@pytest.mark.parametrize(
    "text", ["LoraTrainer", "loratype", "QLoRA", "use_dora", "DoRA", "AdaLoRA", "xlora_depth"]
)
def test_names_that_hold_the_word(text: str) -> None:
    assert speaks_of_lora(text)


@pytest.mark.parametrize("text", ["lora_modem.send()", "LoRaWAN", "loramesh", "lora_gateway"])
def test_a_radio_is_no_adapter(text: str) -> None:
    assert not speaks_of_lora(text)


STEPS = "@torch.no_grad()\ndef step(x, w_down, w_up, alpha, t):\n    return x + {delta} * (alpha / t)\n"


@pytest.mark.parametrize(
    ("delta", "found"),
    [
        ("noise(w_down, w_up)", False),  # a decorator multiplies nothing
        ("w_up @ w_down", True),
        ("w_up@w_down", True),
        ("(\n        w_up\n        @ w_down)", True),
        ("torch.mm(w_up, w_down)", True),
    ],
)
def test_products_in_code_without_a_word_of_lora(delta: str, found: bool) -> None:
    assert speaks_of_lora(STEPS.format(delta=delta)) is found
