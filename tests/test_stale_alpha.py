"""LS208: alphas of another call or module, and what only looks like them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.test_rule_examples import findings

SWITCH = """\
class LoRAPipeline:
    def set_adapter(self, nickname, path=None):
        loaded = False
        if path is not None:
            self.adapters[nickname] = load_file(path)
            loaded = True
        for name, layer in self.lora_layers.items():
            a = self.adapters[nickname][name + ".lora_A"]
            b = self.adapters[nickname][name + ".lora_B"]
{body}
            layer.set_lora_weights(a, b, {argument})
"""
LOOPS = """\
def apply_lora(model, sd, lora_names):
    alpha = None
    for name in lora_names:
        alpha = sd[name + ".alpha"]
        check(alpha)
    for other in lora_names:
{body}
"""


@pytest.mark.parametrize(
    ("body", "argument"),
    [
        ('            alpha = self.adapters[nickname].get(name + ".alpha") if loaded else None', "alpha"),
        (
            "            alpha = None\n            if loaded:\n"
            '                alpha = self.adapters[nickname][name + ".alpha"].item()',
            "lora_alpha=alpha",
        ),
        (
            '            alpha = None if not loaded else self.adapters[nickname][name + ".alpha"]',
            "lora_alpha=alpha",
        ),
    ],
)
def test_alpha_only_if_just_loaded_fires(tmp_path: Path, body: str, argument: str) -> None:
    found = findings(SWITCH.format(body=body, argument=argument), tmp_path, "LS208")
    assert [finding.code for finding in found] == ["LS208"]


def test_a_store_whose_keys_are_mapped(tmp_path: Path) -> None:
    source = """\
class LoRAPipeline:
    def __init__(self):
        self.lora_adapters = defaultdict(dict)

    def set_adapter(self, nickname, path=None):
        updated = False
        if path is not None:
            for key, weight in load_file(path).items():
                self.lora_adapters[nickname][rename(key)] = weight
            updated = True
        if not updated and self.current == nickname:
            return
        for name, layer in self.layers.items():
            alpha_name = name + ".lora_alpha"
            a = self.lora_adapters[nickname][name + ".lora_A"]
            b = self.lora_adapters[nickname][name + ".lora_B"]
            alpha = self.lora_adapters[nickname].get(alpha_name) if updated else None
            layer.set_lora_weights(a, b, lora_alpha=alpha)
"""
    assert [finding.code for finding in findings(source, tmp_path, "LS208")] == ["LS208"]


@pytest.mark.parametrize(
    ("body", "argument"),
    [
        ('            alpha = self.adapters[nickname].get(name + ".alpha")', "alpha"),
        (
            '            alpha = self.adapters[nickname].get(name + ".alpha") if self.scaled else None',
            "alpha",
        ),
        (
            '            key = name + ".alpha"\n'
            "            alpha = self.adapters[nickname][key] if key in self.adapters[nickname] else None",
            "alpha",
        ),
        (
            '            alpha = self.alphas.get(name + ".alpha") if loaded else None',
            "alpha",
        ),
    ],
)
def test_other_conditions_are_silent(tmp_path: Path, body: str, argument: str) -> None:
    assert findings(SWITCH.format(body=body, argument=argument), tmp_path, "LS208") == ()


@pytest.mark.parametrize(
    "body",
    [
        '        model.add(other, sd[other + ".lora_up.weight"], sd[other + ".lora_down.weight"], alpha)',
        '        down = sd[other + ".lora_down.weight"] * (alpha / 4)\n        model.add(other, down)',
    ],
)
def test_alpha_left_over_from_a_loop_fires(tmp_path: Path, body: str) -> None:
    found = findings(LOOPS.format(body=body), tmp_path, "LS208")
    assert [finding.code for finding in found] == ["LS208"]


@pytest.mark.parametrize(
    "source",
    [
        LOOPS.format(
            body='        alpha = sd[other + ".alpha"]\n'
            '        model.add(sd[other + ".lora_up.weight"], alpha)'
        ),
        LOOPS.format(body="        model.add(other)\n    report(alpha)"),
        """\
def apply_lora(model, sd, lora_names):
    for name in lora_names:
        alpha = None
        for side in ("lora_up", "lora_down"):
            try:
                alpha = sd[name + ".alpha"]
            except KeyError:
                alpha = None
            model.add(sd[f"{name}.{side}.weight"], alpha)
""",
        """\
def apply_lora(model, sd, lora_names):
    for name in lora_names:
        alpha = None
        for suffix in (".alpha", ".lora_alpha"):
            alpha = sd.get(name + suffix + ".alpha", alpha)
        model.add(sd[name + ".lora_up.weight"], sd[name + ".lora_down.weight"], alpha)
""",
    ],
)
def test_alpha_of_the_same_module_is_silent(tmp_path: Path, source: str) -> None:
    assert findings(source, tmp_path, "LS208") == ()


FORMER = """\
def add_deltas(q, k, xs, lora_A, lora_B, scalings):
    for i, scaling in enumerate(scalings):
        q[i] += (xs[i] @ lora_A[i] @ lora_B[i]) * scaling
    for i, {own} in enumerate({things}):
        k[i] += (xs[i] @ lora_A[i] @ lora_B[i]) * {used}
    return q, k
"""


@pytest.mark.parametrize(
    ("own", "things", "used", "count"),
    [
        ("one", "scalings", "scaling", 1),
        ("adapter", "scalings", "float(scaling)", 1),
        ("one", "scalings", "one", 0),
        ("scaling", "scalings", "scaling", 0),
        ("name", "others", "scaling", 0),  # another list: one scale for all may be meant
        ("name", "scalings", "scaling * len(name)", 0),
    ],
)
def test_the_name_of_a_former_loop(own: str, things: str, used: str, count: int, tmp_path: Path) -> None:
    source = FORMER.format(own=own, things=things, used=used)
    assert len(findings(source, tmp_path, "LS208")) == count
