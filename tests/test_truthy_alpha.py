"""LS205: scales that are made where no delta is applied."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.test_rule_examples import findings

IMPORTED = """\
try:
    from kernels import Kernel
    HAS_KERNELS = True
except ImportError:
    Kernel = None
    HAS_KERNELS = False

"""

LAYER = """\
class LoRALayer:
    def __init__(self, rank=4, network_alpha=None):
        self.down = nn.Linear(8, rank, bias=False)
        self.up = nn.Linear(rank, 8, bias=False)
        self.network_alpha = network_alpha
        self.rank = rank
        {made}

    def forward(self, x):
        out = self.up(self.down(x))
        {used}
        return out
"""


@pytest.mark.parametrize(
    ("made", "used", "confidence"),
    [
        ("self.scale = network_alpha / rank if network_alpha else 1.0", "out = out * self.scale", "medium"),
        ("self.scale = 1.0 if not network_alpha else network_alpha / rank", "out *= self.scale", "medium"),
        (
            "pass",
            "if self.network_alpha:\n            out = out * (self.network_alpha / self.rank)",
            "medium",
        ),
        (
            "self.network_alpha = int(network_alpha)",
            "out = out * (self.network_alpha / self.rank if self.network_alpha and self.rank else 1.0)",
            "high",
        ),
    ],
)
def test_truth_chooses_the_scale_of_a_layer(made: str, used: str, confidence: str, tmp_path: Path) -> None:
    found = findings(LAYER.format(made=made, used=used), tmp_path, "LS205")
    assert [(item.code, item.confidence) for item in found] == [("LS205", confidence)]


@pytest.mark.parametrize(
    ("made", "used"),
    [
        ("self.scale = network_alpha / rank if network_alpha is not None else 1.0", "out = out * self.scale"),
        ("self.alpha = network_alpha if network_alpha else rank", "out = out * (self.alpha / self.rank)"),
        ("self.alpha = network_alpha or rank", "out = out * (self.alpha / self.rank)"),
        (
            "self.info = settings",
            'r = self.info.get("rank", 16)\n        alpha = self.info.get("alpha") or r\n'
            "        out *= alpha / r",
        ),
        ("self.scale = network_alpha / rank if rank else 1.0", "out = out * self.scale"),
        ("self.name = f'lora-{network_alpha}' if network_alpha else 'lora'", "pass"),
        ("make(r=cfg.get('rank', 16), lora_alpha=cfg.get('alpha', None) or cfg.get('rank', 16))", "pass"),
    ],
)
def test_other_tests_are_silent(made: str, used: str, tmp_path: Path) -> None:
    assert findings(LAYER.format(made=made, used=used), tmp_path, "LS205") == ()


def test_truth_of_the_alpha_of_a_file(tmp_path: Path) -> None:
    source = """\
def load_lora_weights(layers, sd):
    for name, layer in layers.items():
        down = sd[f"{name}.lora_down.weight"]
        alpha = sd.get(f"{name}.alpha")
        scale = 1.0 if {test} else float(alpha) / down.shape[0]
        layer.set_lora(down, sd[f"{name}.lora_up.weight"] * scale)
"""
    # kohya's file: alpha 0 means the rank there, which is scale 1 in other words.
    found = findings(source.replace("{test}", "not alpha"), tmp_path, "LS205")
    assert [item.confidence for item in found] == ["medium"]
    other = source.replace("lora_down", "lora_A").replace("lora_up", "lora_B").replace("{test}", "not alpha")
    assert [item.confidence for item in findings(other, tmp_path, "LS205")] == ["medium"]
    assert findings(source.replace("{test}", "alpha is None"), tmp_path, "LS205") == ()


@pytest.mark.parametrize(
    "chosen",
    ["float(alpha) if alpha else float(down.shape[0])", "down.shape[0] if not alpha else alpha.item()"],
)
def test_the_rank_in_place_of_a_missing_alpha(chosen: str, tmp_path: Path) -> None:
    """Kohya's rule: None or 0 means rank."""
    source = f"""\
def merge_lora(weight, sd, name, strength):
    down, up = sd[name + ".lora_down.weight"], sd[name + ".lora_up.weight"]
    alpha = sd.get(name + ".alpha", None)
    alpha_value = {chosen}
    return weight + strength * (alpha_value / down.shape[0]) * (up @ down)
"""
    assert findings(source, tmp_path) == ()


TABLE = """\
def pairs_of(sd):
    found = {{}}
    for key in sd:
        if key.endswith(".lora_A.weight"):
            module = key.removesuffix(".lora_A.weight")
            entry = {{"down": key, "up": module + ".lora_B.weight", "alpha": sd.get(module + ".lora_alpha")}}
            found[module] = entry
    return found


def merge_lora(weights, sd, lora_alpha=None, strength=1.0):
    for module, pair in pairs_of(sd).items():
        down, up = sd[pair["down"]], sd[pair["up"]]
        if {first}:
            scale = pair["alpha"] / down.shape[0]
        elif {second}:
            scale = lora_alpha / down.shape[0]
        else:
            scale = 1
        weights[module].data += strength * scale * (up @ down)
"""


def test_another_alpha_is_a_way_to_the_same_scale(tmp_path: Path) -> None:
    source = TABLE.format(first='pair["alpha"]', second="lora_alpha is not None")
    assert [item.confidence for item in findings(source, tmp_path, "LS205")] == ["medium"]
    right = TABLE.format(first='pair["alpha"] is not None', second="lora_alpha is not None")
    assert findings(right, tmp_path, "LS205") == ()


@pytest.mark.parametrize(("test", "count"), [("alpha", 1), ("alpha is not None", 0)])
def test_a_factor_of_both_branches_need_not_be_known(test: str, count: int, tmp_path: Path) -> None:
    source = f"""\
def patch(state, adapter, blocks, weight):
    for block in blocks:
        alpha = None
        if f"{{block}}.lora_alpha" in adapter:
            alpha = adapter[f"{{block}}.lora_alpha"].item()
        b, a = adapter[f"{{block}}.lora_B"], adapter[f"{{block}}.lora_A"]
        update = b @ a
        if {test}:
            update *= alpha / b.shape[1]
        update *= weight
        state[block] += update
"""
    assert len(findings(source, tmp_path, "LS205")) == count


@pytest.mark.parametrize(
    ("chosen", "count"),
    [
        ("lora_alpha = settings.lora_alpha or 16", 1),
        ('lora_alpha = getattr(settings, "kt_lora_alpha", 1.0) or 1.0', 1),
        ("lora_alpha = settings.lora_alpha if settings.lora_alpha else 1.0", 1),
        ("lora_alpha = 16 if not settings.lora_alpha else settings.lora_alpha", 1),
        ("lora_alpha = settings.lora_alpha or settings.lora_rank", 0),  # kohya's rule
        ("lora_alpha = settings.lora_alpha or 0", 0),
        ("lora_alpha = 16 if settings.lora_alpha is None else settings.lora_alpha", 0),
        ('lora_alpha = getattr(settings, "lora_alpha", 16)', 0),
    ],
)
@pytest.mark.parametrize("imported", ["", IMPORTED])
def test_a_constant_in_the_place_of_an_alpha_of_0(
    chosen: str, count: int, imported: str, tmp_path: Path
) -> None:
    check = "    if not HAS_KERNELS:\n        raise ImportError\n" if imported else ""
    source = f"{imported}def wrap(model, settings):\n{check}    {chosen}\n"
    source += "    return wrap_lora(model, lora_alpha)\n"
    assert [item.confidence for item in findings(source, tmp_path, "LS205")] == ["medium"] * count


@pytest.mark.parametrize(
    ("chosen", "count"),
    [
        ("strength or 1.0", 1),
        ("strength if strength else 1", 1),
        ("1.0 if strength is None else strength", 0),
    ],
)
def test_a_strength_of_0_is_one_too(chosen: str, count: int, tmp_path: Path) -> None:
    source = f"""\
class Patcher:
    def apply_lora(self, path, strength=None):
        lora = self.load(path)
        lora.strength = {chosen}
        self.loras[path] = lora
"""
    assert len(findings(source, tmp_path, "LS205")) == count


FORWARD = """\
def lora_forward(layer, x, result):
    for lora in loaded_loras:
        module = lora.modules.get(layer.name)
        if module is None:
            continue
        alpha = module.alpha / module.{up}.weight.shape[1] if module.alpha else 1.0
        result = result + lora.multiplier * alpha * module.{up}(module.{down}(x))
    return result
"""


@pytest.mark.parametrize(("up", "down"), [("up", "down"), ("lora_B", "lora_A")])
def test_a_program_that_reads_kohyas_files(up: str, down: str, tmp_path: Path) -> None:
    found = findings(FORWARD.format(up=up, down=down), tmp_path, "LS205")
    assert [item.confidence for item in found] == ["medium"]
