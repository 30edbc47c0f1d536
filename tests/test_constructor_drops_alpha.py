"""LS206: alpha given and not passed on, and constructors that do use it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.test_rule_examples import findings

INITIALISED = """\
class LoRALinear:
    def __init__(self, in_features, dim=8, alpha=32, **options):
        self.in_features = in_features
{body}

    @staticmethod
    def _init_adapter(module, dim=8, alpha=32):
        module.dim = dim
        module.scale = alpha / dim

    def setup_adapter(self, dim=8, alpha=32):
        self.dim = dim
        self.scale = alpha / dim

    def forward(self, x):
        return self.base(x) + self.scale * self.lora_up(self.lora_down(x))
"""
PARENT = """\
class LoRABase:
    def __init__(self, rank, alpha=1.0):
        self.scaling = alpha / rank

    def forward(self, x):
        return self.base(x) + self.scaling * self.lora_up(self.lora_down(x))


class LoRAConv(LoRABase):
    def __init__(self, rank, alpha=1.0):
        {body}
"""


@pytest.mark.parametrize(
    "source",
    [
        INITIALISED.format(body="        LoRALinear._init_adapter(self)"),
        INITIALISED.format(body="        LoRALinear._init_adapter(self, dim)"),
        INITIALISED.format(body="        self.setup_adapter(dim=dim)"),
        PARENT.format(body="super().__init__(rank)"),
        PARENT.format(body="LoRABase.__init__(self, rank)"),
    ],
)
def test_unused_alpha_fires(tmp_path: Path, source: str) -> None:
    assert [f.code for f in findings(source, tmp_path, "LS206")] == ["LS206"]


@pytest.mark.parametrize(
    "source",
    [
        INITIALISED.format(body="        LoRALinear._init_adapter(self, dim, alpha)"),
        INITIALISED.format(body="        self.setup_adapter(dim, alpha=alpha)"),
        INITIALISED.format(body="        self.setup_adapter(dim)\n        self.scale = alpha / dim"),
        INITIALISED.format(body="        self.setup_adapter(**options)"),
        INITIALISED.format(body="        self.finish = lambda: self.setup_adapter(dim, alpha)"),
        PARENT.format(body="super().__init__(rank, alpha)"),
        PARENT.format(body="LoRABase.__init__(self, rank, alpha)"),
        PARENT.format(body="super().__init__(rank=rank, alpha=alpha / 2)"),
        PARENT.format(body="super().__init__(rank)\n        self.scaling = 1.0"),
        PARENT.format(body="super().__init__(rank)")
        + "\n    def forward(self, x):\n        return self.rotate(x)\n",
    ],
)
def test_used_alpha_is_silent(tmp_path: Path, source: str) -> None:
    assert findings(source, tmp_path, "LS206") == ()


KEPT = """\
class LoRADense:
    def __init__(self, lora_rank=None, lora_alpha=None):
        self.lora_rank = lora_rank
        self.lora_alpha = lora_alpha

    def build(self):
        {build}

    def enable_lora(self, rank, lora_alpha=None):
        {enable}
        self.lora_rank = rank

    def call(self, inputs, outputs):
        return inputs + self.lora_alpha / self.lora_rank * outputs
"""
RESET = "self.lora_alpha = rank if lora_alpha is None else lora_alpha"


def test_reset_by_a_build_step_fires(tmp_path: Path) -> None:
    source = KEPT.format(build="self.enable_lora(self.lora_rank)", enable=RESET)
    assert [f.code for f in findings(source, tmp_path, "LS206")] == ["LS206"]


def test_a_flag_that_was_set_since_it_was_asked_for(tmp_path: Path) -> None:
    build = "if self.built: return\n        self.built = True\n        self.enable_lora(self.lora_rank)"
    enable = f"if not self.built:\n            raise ValueError('build first')\n        {RESET}"
    source = KEPT.format(build=build, enable=enable).replace(
        "self.lora_alpha = lora_alpha\n", "self.lora_alpha = lora_alpha\n        self.built = False\n", 1
    )
    assert [f.code for f in findings(source, tmp_path, "LS206")] == ["LS206"]


def test_a_method_that_is_meant_to_reset_is_silent(tmp_path: Path) -> None:
    source = KEPT.format(build="self.enable_lora(self.lora_rank)", enable=RESET)
    assert findings(source.replace("def build", "def reset"), tmp_path, "LS206") == ()


@pytest.mark.parametrize(
    ("build", "enable"),
    [
        ("self.enable_lora(self.lora_rank, self.lora_alpha)", RESET),
        ("self.enable_lora(self.lora_rank)", "self.lora_alpha = lora_alpha or self.lora_alpha"),
        ("self.enable_lora(self.lora_rank)", "if lora_alpha is not None: self.lora_alpha = lora_alpha"),
        ("kept = self.lora_alpha; self.enable_lora(self.lora_rank)\n        self.lora_alpha = kept", RESET),
        ("self.enable_lora(4)", RESET),
    ],
)
def test_kept_alpha_is_silent(tmp_path: Path, build: str, enable: str) -> None:
    assert findings(KEPT.format(build=build, enable=enable), tmp_path, "LS206") == ()


LOADER = """\
import mlx.core as mx

from .lora import LoRALinear


def linear_to_lora_layers(model, config):
    return [LoRALinear.from_linear(m, r=config["rank"], scale=config["scale"]) for m in model.modules()]


def apply_lora_layers(model, path{more}):
    adapters = mx.load(path)
    names = [name.replace(".lora_a", "").replace(".lora_b", "") for name in adapters]
    made = [LoRALinear.from_linear(m{given}) for m in model.modules()]
    model.update_modules(made)
    model.update(adapters)
"""


@pytest.mark.parametrize(
    ("more", "given", "codes"),
    [("", "", ["LS206"]), (", config", ", **config", []), (", scale", ", scale=scale", [])],
)
def test_loader_with_defaults(tmp_path: Path, more: str, given: str, codes: list[str]) -> None:
    source = LOADER.format(more=more, given=given)
    assert [f.code for f in findings(source, tmp_path, "LS206")] == codes


MAKERS = """\
class LoRALinear:
    def __init__(self, base, rank=8, alpha=8.0):
        self.base = base
        self.scale = alpha / rank

    def forward(self, x):
        return self.base(x) + (x @ self.lora_a.T @ self.lora_b.T) * self.scale


def add_lora(model, rank, lora_alpha):
    {first}
    for name, child in model.named_children():
        {made}
"""


@pytest.mark.parametrize(
    ("first", "made", "codes"),
    [
        ("make = partial(LoRALinear, rank=rank)", "setattr(model, name, make(child))", ["LS206"]),
        ("make = functools.partial(LoRALinear, rank=rank)", "setattr(model, name, make(child))", ["LS206"]),
        (
            "make = partial(LoRALinear, rank=rank, alpha=lora_alpha)",
            "setattr(model, name, make(child))",
            [],
        ),
        (
            "make = partial(LoRALinear, rank=rank)",
            "setattr(model, name, make(child, alpha=lora_alpha))",
            [],
        ),
        ("pass", "add_lora(child, rank, lora_alpha); LoRALinear(child, rank=rank)", ["LS206"]),
        ("pass", "add_lora(child, rank, 2 * lora_alpha); LoRALinear(child, rank=rank)", []),
    ],
)
def test_partials_and_recursion(first: str, made: str, codes: list[str], tmp_path: Path) -> None:
    source = MAKERS.format(first=first, made=made)
    assert [f.code for f in findings(source, tmp_path, "LS206")] == codes


CONFIGURED = """\
class LoRABase:
    def __init__(self, r=8, lora_alpha=32):
        self.r = r
        self.scaling = lora_alpha / r


class LoRALinear(LoRABase):
    def __init__(self, weight, r=8, lora_alpha=32):
        super().__init__(r=r, lora_alpha=lora_alpha)
        self.weight = weight

    def forward(self, x):
        return x @ self.weight.T + self.scaling * self.lora_B(self.lora_A(x))


class LoRAEmbedding(LoRALinear):
    pass


def wrap_embedding(layer, {config}):
    return LoRAEmbedding(layer.weight, r={config}.{rank}, lora_alpha={config}.{alpha})


def wrap_linear(layer, config):
    {body}
"""


@pytest.mark.parametrize(
    "body",
    [
        "return LoRALinear(layer.weight, r=config.r)",
        "return LoRALinear(layer.weight, config.r)",
        "layer.adapter = LoRALinear(weight=layer.weight, r=config.r)",
        "return functools.partial(LoRALinear, r=config.r)(layer.weight)",
        "new = LoRALinear(layer.weight, r=config.r)\n    new.to(layer.device)\n    return new",
    ],
)
def test_rank_of_a_configuration_without_its_alpha_fires(tmp_path: Path, body: str) -> None:
    source = CONFIGURED.format(config="config", rank="r", alpha="lora_alpha", body=body)
    assert [f.code for f in findings(source, tmp_path, "LS206")] == ["LS206"]


@pytest.mark.parametrize(
    ("config", "body"),
    [
        ("config", "return LoRALinear(layer.weight, r=config.r, lora_alpha=config.lora_alpha)"),
        ("config", "return LoRALinear(layer.weight, config.r, config.lora_alpha)"),
        (
            "config",
            "new = LoRALinear(layer.weight, r=config.r)\n    new.scaling = config.factor\n    return new",
        ),
        ("config", "return LoRALinear(layer.weight, **vars(config))"),
        ("config", "return LoRALinear(layer.weight, r=8)"),
        ("config", "return LoRALinear(layer.weight, r=config.r, lora_alpha=2 * config.r)"),
        ("options", "return LoRALinear(layer.weight, r=config.r)"),
    ],
)
def test_other_layers_of_a_configuration_are_silent(tmp_path: Path, config: str, body: str) -> None:
    source = CONFIGURED.format(config=config, rank="r", alpha="lora_alpha", body=body)
    assert not findings(source, tmp_path, "LS206")


def test_a_flag_that_the_constructor_may_have_set_is_not_known(tmp_path: Path) -> None:
    """Keras' Embedding builds itself where it is given weights, and asks whether it is built."""
    source = KEPT.format(
        build="if self.built:\n            return\n        self.built = True\n        "
        "self.enable_lora(self.lora_rank)",
        enable=RESET,
    ).replace("(self, lora_rank=None,", "(self, weights=None, lora_rank=None,")
    kept = "        self.lora_alpha = lora_alpha\n"
    source = source.replace(kept, f"{kept}        if weights is not None:\n            self.build()\n", 1)
    assert [f.code for f in findings(source, tmp_path, "LS206")] == ["LS206"]


INJECTED = """\
from torch import nn


class LoRALinear(nn.Module):
    def __init__(self, base, r=8, lora_alpha=1):
        super().__init__()
        self.base = base
        self.lora_A = nn.Linear(base.in_features, r, bias=False)
        self.lora_B = nn.Linear(r, base.out_features, bias=False)
        self.scaling = lora_alpha / r

    def forward(self, x):
        return self.base(x) + self.lora_B(self.lora_A(x)) * self.scaling


def inject(model, config):
    rank, lora_alpha = config["lora_rank"], config["lora_alpha"]
    for name, module in model.named_children():
        setattr(model, name, LoRALinear(module, {given}))
"""


def test_an_alpha_that_is_read_beside_the_rank_and_dropped_fires(tmp_path: Path) -> None:
    assert [f.code for f in findings(INJECTED.format(given="r=rank"), tmp_path, "LS206")] == ["LS206"]


@pytest.mark.parametrize("given", ["r=rank, lora_alpha=lora_alpha", "rank, lora_alpha", "r=4"])
def test_an_alpha_that_is_handed_on_or_of_another_rank_is_silent(given: str, tmp_path: Path) -> None:
    assert findings(INJECTED.format(given=given), tmp_path, "LS206") == ()


SETTINGS = """

class Settings:
    r: int = 8
    alpha: float = 16.0


def inject(model, settings: Settings):
    for name, module in model.named_children():
        setattr(model, name, LoRALinear(module, {given}))
"""


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("r=settings.r", ["LS206"]),
        ("r=settings.r, lora_alpha=settings.alpha", []),
        ("r=4", []),
    ],
)
def test_settings_that_have_an_alpha_beside_the_rank(given: str, found: list[str], tmp_path: Path) -> None:
    source = INJECTED.partition("\n\ndef inject")[0] + SETTINGS.format(given=given)
    assert [f.code for f in findings(source, tmp_path, "LS206")] == found
