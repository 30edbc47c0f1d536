"""LS208: alphas of another call or module, and what only looks like them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files
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
def bake(weights, adapters, configs):
    baked = dict(weights)
    for path in {key.removesuffix(".lora_A.weight") for adapter in adapters for key in adapter}:
        lora_delta = None
        for adapter, config in zip(adapters, configs):
            r = int(config.get("r", 16))
            alpha = float(config.get("lora_alpha", r))
            one = alpha / r * (adapter[path + ".lora_B.weight"] @ adapter[path + ".lora_A.weight"])
            lora_delta = one if lora_delta is None else lora_delta + one
        baked[path] = baked[path] + lora_delta
    return baked
""",
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


ROUNDS = """\
def bake(model, state, names, ratio):
    {before}
    for name in names:
        up, down = state[f"{{name}}.lora_up.weight"], state[f"{{name}}.lora_down.weight"]
        rank = down.shape[0]
{body}
        model[name].weight.data += ratio * {scale} * (up @ down)
"""
LEFT_BEHIND = {
    "the rank only as long as there was none": ROUNDS.format(
        before="alpha = None",
        body='        if f"{name}.alpha" in state:\n            alpha = state[f"{name}.alpha"].item()\n'
        "        elif alpha is None:\n            alpha = rank",
        scale="(alpha / rank)",
    ),
    "a default before the loop": ROUNDS.format(
        before="factor = 1.0",
        body='        alpha = state.get(f"{name}.alpha")\n        if alpha is not None:\n'
        "            factor = alpha / rank",
        scale="factor",
    ),
    "two spellings of the key": ROUNDS.format(
        before="alpha = 1.0",
        body='        if f"{name}.alpha" in state:\n            alpha = state[f"{name}.alpha"]\n'
        '        elif f"{name}.lora_alpha" in state:\n            alpha = state[f"{name}.lora_alpha"]',
        scale="(alpha / rank)",
    ),
    "a way out of the round before it is set": ROUNDS.format(
        before="alpha = None",
        body='        try:\n            alpha = state[f"{name}.alpha"]\n'
        "        except KeyError:\n            pass",
        scale="(alpha / rank if alpha is not None else 1.0)",
    ),
}
SET_IN_EACH_ROUND = {
    "reset in each round": ROUNDS.format(
        before="alpha = None",
        body='        alpha = None\n        if f"{name}.alpha" in state:\n'
        '            alpha = state[f"{name}.alpha"].item()\n'
        "        if alpha is None:\n            alpha = rank",
        scale="(alpha / rank)",
    ),
    "set on both branches": ROUNDS.format(
        before="alpha = None",
        body='        if f"{name}.alpha" in state:\n            alpha = state[f"{name}.alpha"].item()\n'
        "        else:\n            alpha = rank",
        scale="(alpha / rank)",
    ),
    "modules without one are passed over": ROUNDS.format(
        before="alpha = None",
        body='        if f"{name}.alpha" not in state:\n            continue\n'
        '        alpha = state[f"{name}.alpha"].item()',
        scale="(alpha / rank)",
    ),
    "one of the file for all, as it is meant": ROUNDS.format(
        before='alpha = state["lora_alpha"]', body="", scale="(alpha / rank)"
    ),
}


@pytest.mark.parametrize("name", LEFT_BEHIND)
def test_left_by_the_round_before(name: str, tmp_path: Path) -> None:
    found = findings(LEFT_BEHIND[name], tmp_path, "LS208")
    assert [finding.code for finding in found] == ["LS208"]


@pytest.mark.parametrize("name", SET_IN_EACH_ROUND)
def test_set_in_each_round_is_silent(name: str, tmp_path: Path) -> None:
    assert findings(SET_IN_EACH_ROUND[name], tmp_path, "LS208") == ()


def test_a_sum_of_deltas_each_times_its_own_scale(tmp_path: Path) -> None:
    source = """\
def bake_lora(weights, adapters, configs):
    for path in sorted({key.split(".lora_A")[0] for sd in adapters for key in sd}):
        delta = None
        for sd, config in zip(adapters, configs):
            if f"{path}.lora_A.weight" not in sd:
                continue
            rank = config["r"]
            alpha = float(config.get("lora_alpha", rank))
            one = alpha / rank * (sd[f"{path}.lora_B.weight"] @ sd[f"{path}.lora_A.weight"])
            delta = one if delta is None else delta + one
        weights[path] = weights[path] + delta
"""
    assert findings(source, tmp_path, "LS208") == ()


SCRIPT = """
import peft
for path in paths:
    lora = torch.load(path)
    config = peft.LoraConfig.from_pretrained(path)
    scaling = config.lora_alpha / config.r
    for key in [key for key in lora if "lora_A" in key]:
        base[key] += lora[key.replace("lora_A", "lora_B")] @ lora[key] * scaling
"""
ROWS = """
import peft
rows = []
for path in paths:
    config = peft.LoraConfig.from_pretrained(path)
    rows.append({"state": torch.load(path), "scaling": config.lora_alpha / config.r})
for key in base:
    for row in rows:
        key_a, key_b = key.replace(".weight", ".lora_A.weight"), key.replace(".weight", ".lora_B.weight")
        if key_a in row["state"]:
            base[key] += row["state"][key_b] @ row["state"][key_a] * row["scaling"]
"""


def test_the_top_levels_of_two_files_are_not_one_function(tmp_path: Path) -> None:
    below = "\n" * 30 + SCRIPT
    assert lint_files(tmp_path, {"merge.py": below, "merge_low_mem.py": ROWS}, codes=["LS208"]) == ()


SLOT = """\
class LoraSlot:
    def __init__(self, base, lora_A, lora_B):
        self.base, self.lora_A, self.lora_B, self.scaling = base, lora_A, lora_B, 1.0

    def load(self, a, b, alpha):
        self.lora_A[: a.shape[0]].copy_(a)
        self.lora_B[:, : a.shape[0]].copy_(b)
        self.{told}

    def swap(self, a, b, alpha):
        {before}
        self.lora_A[: a.shape[0]].copy_(a)
        self.lora_B[:, : a.shape[0]].copy_(b)

    def tell(self, a, alpha):
        self.scaling = alpha / a.shape[0]

    def forward(self, x):
        return self.base(x) + (x @ self.lora_A.T) @ self.lora_B.T * self.scaling
"""
TOLD = "scaling = alpha / a.shape[0]"


@pytest.mark.parametrize(
    ("told", "before", "found"),
    [
        (TOLD, "self.lora_A.zero_()", 1),
        (TOLD, "self.scaling = alpha / a.shape[0]", 0),
        (TOLD, "self.tell(a, alpha)", 0),
        ("swap(a, b, alpha)", "pass", 0),  # the scale is 1 for all of them
    ],
)
def test_a_swap_leaves_no_scale_of_the_former_adapter(
    told: str, before: str, found: int, tmp_path: Path
) -> None:
    """What is set with the factors in one method is set in each that replaces them."""
    text = SLOT.format(told=told, before=before)
    assert len(lint_files(tmp_path, {"slot.py": text}, codes=["LS208"])) == found


MIX = """\
def mix_lora(model, paths, weights, load):
    pairs = []
    for path, weight in zip(paths, weights):
        for name, (a, b, alpha) in load(path).items():
            pairs.append((name, a, b, alpha / a.shape[0]{kept}))
    for {names} in {source}:
        model.get_parameter(name).data += {factor}scale * (b @ a)
"""


@pytest.mark.parametrize(
    ("kept", "names", "source", "factor", "found"),
    [
        ("", "name, a, b, scale", "pairs", "weight * ", 1),
        (" * weight", "name, a, b, scale", "pairs", "", 0),
        ("", "name, a, b, scale", "list(pairs)", "weight * ", 1),
        ("", "(name, a, b, scale), weight", "zip(pairs, weights)", "weight * ", 0),
        (", weight", "name, a, b, scale, weight", "pairs", "weight * ", 0),
    ],
)
def test_a_strength_of_the_last_adapter(
    kept: str, names: str, source: str, factor: str, found: int, tmp_path: Path
) -> None:
    """Each adapter has its own strength, also where its factors are kept for a second loop."""
    text = MIX.format(kept=kept, names=names, source=source, factor=factor)
    assert len(lint_files(tmp_path, {"lora_mix.py": text}, codes=["LS208"])) == found


def test_a_strength_in_a_row_of_two(tmp_path: Path) -> None:
    text = MIX.format(kept="", names="name, a, b, scale", source="pairs", factor="weight * ")
    text = text.replace("zip(paths, weights)", "styles").replace("paths, weights", "styles")
    assert len(lint_files(tmp_path, {"lora_mix.py": text}, codes=["LS208"])) == 1
