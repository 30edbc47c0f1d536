"""LS102: classes that read the rank of a configuration and leave its alpha, factors in pairs among them."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorascale_lint.engine import lint

CONFIG = """
import flax.linen as nn
import jax.numpy as jnp


class LoRAConfig:
    rank: int
    alpha: float = 1.0

    @property
    def trained(self):
        return self.alpha / self.rank

"""
FEED_FORWARD = (
    CONFIG
    + """
class FeedForward(nn.Module):
    features: int
    lora_config: LoRAConfig | None = None

    def setup(self):
        self.w = self.param("kernel", init, (self.features, self.features))
        self.w_lora = None
        if self.lora_config:
            self.w_lora = (
                self.param("lora_a", init, (self.features, self.lora_config.rank)),
                self.param("lora_b", init, (self.lora_config.rank, self.features)),
            )

    def __call__(self, x):
        hidden = nn.gelu(self._dot(x, self.w, self.w_lora))
        lora = None if self.w_lora is None else (self.w_lora[0], self.w_lora[1])
        return self._dot(hidden * x, self.w, lora)

    def _dot(self, x, w, lora_weights):
        base = jnp.dot(x, w)
        if lora_weights is None:
            return base
        return base + jnp.dot(jnp.dot(x, lora_weights[0]), lora_weights[1])
"""
)
LINEAR = (
    CONFIG
    + """
class LoRALinear(nn.Module):
    def __init__(self, base, config: LoRAConfig):
        self.base = base
        self.lora_A = nn.Linear(base.in_features, config.rank, bias=False)
        self.lora_B = nn.Linear(config.rank, base.out_features, bias=False)

    def forward(self, x):
        return self.base(x) + self.lora_B(self.lora_A(x))
"""
)
SUM = "return base + jnp.dot(jnp.dot(x, lora_weights[0]), lora_weights[1])"


def codes(folder: Path, source: str) -> list[str]:
    """Codes of LS102 findings in one file."""
    path = folder / "lora_layers.py"
    path.write_text(source)
    return [finding.code for finding in lint([path], [], codes=["LS102"]).findings]


@pytest.mark.parametrize(
    "source",
    [
        FEED_FORWARD,
        FEED_FORWARD.replace(SUM, "return base + x @ lora_weights[0] @ lora_weights[1]"),
        FEED_FORWARD.replace(SUM, "a, b = lora_weights\n        return base + jnp.dot(jnp.dot(x, a), b)"),
        LINEAR,
        LINEAR.replace(
            "def __init__(self, base, config: LoRAConfig)", "def __init__(self, base, config: 'LoRAConfig')"
        ),
        LINEAR.replace("alpha", "lora_alpha").replace("rank", "r"),
    ],
)
def test_alpha_stays_in_the_configuration(source: str, tmp_path: Path) -> None:
    assert codes(tmp_path, source) == ["LS102"]


@pytest.mark.parametrize(
    "source",
    [
        FEED_FORWARD.replace(SUM, SUM + " * self.lora_config.trained"),
        FEED_FORWARD.replace("self.w_lora[1])", "self.w_lora[1] * self.lora_config.trained)"),
        FEED_FORWARD.replace("return self._dot(", "y = self.scale_of(x)\n        return self._dot("),
        FEED_FORWARD.replace("return self.alpha / self.rank", "return 1.0"),
        FEED_FORWARD.replace("alpha", "beta"),
        FEED_FORWARD.replace('self.param("lora_b"', 'self.multiply(self.param("lora_b"').replace(
            "self.features)),\n            )", "self.features))),\n            )"
        ),
        LINEAR.replace("(self.lora_A(x))", "(self.lora_A(x)) * self.config.trained"),
        LINEAR.replace("config: LoRAConfig", "config"),
        LINEAR.replace("config.rank", "8"),
    ],
)
def test_silent(source: str, tmp_path: Path) -> None:
    assert codes(tmp_path, source) == []


def test_an_input_of_the_delta_alone_may_be_scaled(tmp_path: Path) -> None:
    source = FEED_FORWARD.replace("base = jnp.dot(x, w)", "base = jnp.dot(self.inputs, w)")
    assert codes(tmp_path, source) == []
