"""LS310 in other spellings, and merges that must stay silent."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import fix_files, lint_files

PAIRS = """
import torch

def merge_lora(model, lora_sd, multiplier=1.0):
    layers = dict(model.named_modules())
    for key in lora_sd:
        if "lora_down" not in key:
            continue
        down = lora_sd[key].float()
        up = lora_sd[key.replace("lora_down", "lora_up")].float()
        layer = layers[key.split(".")[0]]
        {merge}
"""

WHOLE = """
import numpy as np

def load_merged_lora(model, path):
    with_lora = {opened}
    base, first, second = {{}}, {{}}, {{}}
    for key in with_lora{keys}:
        if "lora_A.default" in key:
            first[key.split(".lora_A")[0]] = with_lora[key]
        elif "lora_B.default" in key:
            second[key.split(".lora_B")[0]] = with_lora[key]
        elif "base_layer" in key:
            base[key.replace(".base_layer.weight", "").removeprefix("base_model.model.")] = with_lora[key]
    for name, weight in base.items():
        module = "base_model.model." + name
        if module in first and module in second:
            weight = weight + {scale}second[module] @ first[module]
        model.get_parameter(name + ".weight").copy_(weight)
"""

MANAGER = """
from safetensors import safe_open

class LoRAManager:
    def __init__(self, model):
        self.model = model
        self.backup = {{}}

    def _open(self, path):
        with safe_open(path, framework="pt") as f:
            return {{key: f.get_tensor(key).float() for key in f.keys()}}

    def enable(self, path, alpha=1.0):
        self._add(self.model.weights, self._open(path), alpha)

    def _add(self, weights, tensors, alpha):
        pairs = {{}}

        def find(key, ending, other):
            if key.endswith(ending):
                pairs[key.replace(ending, "weight")] = key, key.replace(ending, other)

        for key in tensors.keys():
            find(key, "lora_A.weight", "lora_B.weight")
            find(key, "lora_down.weight", "lora_up.weight")
        for name, target in weights.items():
            if name in pairs:
                self.backup[name] = target.clone()
                first, second = pairs[name]
                down, up = tensors[first], tensors[second]
                {merge}
"""

POWER_ITERATION = """
import torch

def unit(v, eps=1e-12):
    return v / (torch.norm(v) + eps)

def largest_singular_value(weight, rounds=10):
    u = torch.randn(1, weight.size(0))
    for _ in range(rounds):
        v = unit(torch.matmul(u, weight))
        u = unit(torch.matmul(v, weight.t()))
    return torch.sum(torch.matmul(u, weight) * v)

def clamp(lora_sd, limit):
    for key in lora_sd.keys():
        if "lora_down" in key:
            up_key = key.replace("lora_down", "lora_up")
            {clamp}
    return lora_sd
"""

FIRING = {
    "a matrix product": PAIRS.format(merge="layer.weight.data += multiplier * (up @ down)"),
    "an out-of-place sum": PAIRS.format(
        merge="layer.weight.data = layer.weight.data + multiplier * torch.mm(up, down)"
    ),
    "a strength called alpha": PAIRS.replace("multiplier", "alpha").format(
        merge="layer.weight.data += alpha * torch.matmul(up, down)"
    ),
    "a strength called alpha, below one by default": PAIRS.replace("multiplier=1.0", "alpha=0.6").format(
        merge="layer.weight.data += alpha * torch.mm(up, down)"
    ),
    "branches for convolutions": PAIRS.format(
        merge="""if len(up.shape) == 4:
            delta = torch.mm(up.squeeze(3).squeeze(2), down.squeeze(3).squeeze(2)).unsqueeze(2).unsqueeze(3)
        else:
            delta = torch.mm(up, down)
        layer.weight.data += multiplier * delta"""
    ),
    "pairs kept in a list, alpha skipped": """
import torch
from safetensors.torch import load_file

def convert_lora(pipeline, path, LORA_PREFIX="lora_unet", ratio=0.75):
    state_dict = load_file(path)
    visited = []
    for key in state_dict:
        if ".alpha" in key or key in visited:
            continue
        layer = pipeline.find(key.split(".")[0])
        pair_keys = []
        if "lora_down" in key:
            pair_keys.append(key.replace("lora_down", "lora_up"))
            pair_keys.append(key)
        else:
            pair_keys.append(key)
            pair_keys.append(key.replace("lora_up", "lora_down"))
        weight_up = state_dict[pair_keys[0]].to(torch.float32)
        weight_down = state_dict[pair_keys[1]].to(torch.float32)
        layer.weight.data += ratio * torch.mm(weight_up, weight_down)
        visited.extend(pair_keys)
""",
    "paired by one method, merged by another": """
import torch

class LoRALoader:
    def pairs(self, lora_sd):
        found = {}
        for key in lora_sd:
            if "lora_up" in key:
                name = key.split(".lora_up")[0]
                found[name + ".lora_B.weight"] = lora_sd[key]
                found[name + ".lora_A.weight"] = lora_sd[key.replace("lora_up", "lora_down")]
        return found

    def fuse(self, model, lora_sd, strength=1.0):
        weights = self.pairs(lora_sd)
        for name, module in model.named_modules():
            up = weights[name + ".lora_B.weight"]
            down = weights[name + ".lora_A.weight"]
            module.weight.data = module.weight.data + strength * torch.mm(up, down)
""",
    "pairs by a table of names, the strength called alpha by the method below": MANAGER.format(
        merge="target += (up @ down) * alpha"
    ),
    "pairs by a table of names, in functions": """
from safetensors.torch import safe_open

def opened(path):
    tensors = {}
    with safe_open(path, framework="pt") as handle:
        for name in handle.keys():
            tensors[name] = handle.get_tensor(name)
    return tensors

def patch(weights, adapter, alpha):
    table = {}
    for name in adapter:
        if name.endswith(".lora_down.weight"):
            table[name.removesuffix(".lora_down.weight")] = name, name.replace("lora_down", "lora_up")
    for module in weights:
        if module in table:
            first, second = table[module]
            weights[module] = weights[module] + alpha * (adapter[second] @ adapter[first])

def patch_lora(weights, path, weight=1.0):
    patch(weights, opened(path), weight)
""",
    "a whole model with its factors, from numpy": WHOLE.format(
        opened="np.load(path)", keys=".files", scale=""
    ),
    "a whole model with its factors, from a reader out of sight": WHOLE.format(
        opened="read_safetensors_file(path)", keys="", scale=""
    ),
    "power iteration over the product": POWER_ITERATION.format(
        clamp="lora_sd[up_key] *= limit / largest_singular_value(lora_sd[up_key] @ lora_sd[key])"
    ),
    "a clamp of the bare norm": """
def clamp_norms(lora_sd, limit):
    for key in list(lora_sd.keys()):
        if "lora_down" not in key:
            continue
        up_key = key.replace("lora_down", "lora_up")
        norm = (lora_sd[up_key] @ lora_sd[key]).norm()
        ratio = min(limit / norm, 1)
        lora_sd[up_key] *= ratio ** 0.5
        lora_sd[key] *= ratio ** 0.5
""",
}

SILENT = {
    "scale from the alpha key": PAIRS.format(
        merge="""scale = lora_sd[key.split(".")[0] + ".alpha"] / down.shape[0]
        layer.weight.data += multiplier * scale * (up @ down)"""
    ),
    "an alpha below one by default, over the rank": PAIRS.replace("multiplier=1.0", "alpha=0.5").format(
        merge="layer.weight.data += alpha / down.shape[0] * (up @ down)"
    ),
    "an alpha that no strength is by default": PAIRS.replace("multiplier=1.0", "alpha=16.0").format(
        merge="layer.weight.data += alpha * (up @ down)"
    ),
    "a whole model with its factors, scaled": WHOLE.format(
        opened="np.load(path)", keys=".files", scale="model.config.lora_alpha / model.config.r * "
    ),
    "pairs by a table of names, with their alpha": MANAGER.format(
        merge="""rank = down.shape[0]
                trained = tensors.get(first.split(".lora_")[0] + ".alpha", rank) / rank
                target += (up @ down) * trained * alpha"""
    ),
    "pairs by a table of names, a caller of which gives alpha / rank": MANAGER.format(
        merge="target += (up @ down) * alpha"
    )
    + """
    def enable_all(self, adapters):
        for adapter in adapters:
            tensors = self._open(adapter.path)
            self._add(self.model.weights, tensors, adapter.lora_alpha / adapter.rank)
""",
    "a scale from a helper, beside a strength called alpha": PAIRS.replace(
        "multiplier=1.0", "alpha=0.6"
    ).format(merge="layer.weight.data += alpha * scale_of(lora_sd, key) * (up @ down)"),
    "scale from a helper that is not seen": PAIRS.format(
        merge="layer.weight.data += multiplier * scale_of(lora_sd, key) * (up @ down)"
    ),
    "a caller that folds alpha first": PAIRS.format(merge="layer.weight.data += multiplier * (up @ down)")
    + """
def load(model, lora_sd):
    for key in list(lora_sd):
        if key.endswith(".alpha"):
            down = key.replace(".alpha", ".lora_down.weight")
            lora_sd[down] *= lora_sd[key] / lora_sd[down].shape[0]
    merge_lora(model, lora_sd)
""",
    "a caller that passes the scale": PAIRS.format(merge="layer.weight.data += multiplier * (up @ down)")
    + """
def load(model, lora_sd, lora):
    merge_lora(model, lora_sd, lora.numerator / lora.rank)
""",
    "a format without alpha": PAIRS.replace("lora_down", "lora_A")
    .replace("lora_up", "lora_B")
    .format(merge="layer.weight.data += multiplier * (up @ down)"),
    "a scaled factor": PAIRS.format(
        merge="""down = down * multiplier_of(key)
        layer.weight.data += multiplier * (up @ down)"""
    ),
    "a fold in the dictionary": PAIRS.format(
        merge="""lora_sd[key] *= model.strength_of[key]
        layer.weight.data += multiplier * (up @ down)"""
    ),
    "factors from a library that may fold": PAIRS.replace(
        "    layers = dict", "    lora_sd = prepare(lora_sd)\n    layers = dict"
    ).format(merge="layer.weight.data += multiplier * (up @ down)"),
    "a delta that is None on both branches": """
def merge_lora(model, lora_sd, use_cache):
    for key in lora_sd:
        if "lora_down" in key:
            delta = None if use_cache else None
            model[key] = model[key] + delta
""",
    "power iteration over one factor": POWER_ITERATION.replace(
        '        if "lora_down" in key:\n', '        if "alpha" not in key:\n'
    ).format(clamp="lora_sd[key] *= limit / largest_singular_value(lora_sd[key])"),
    "a norm that is only printed": """
def print_norms(lora_sd):
    for key in lora_sd:
        if "lora_down" in key:
            print(key, (lora_sd[key.replace("lora_down", "lora_up")] @ lora_sd[key]).norm())
""",
    "an attention sum": """
def lora_attention(scores, weights, bias):
    if "lora_down" in weights:
        scores += weights["query"] @ weights["key"]
    return scores
""",
}


@pytest.mark.parametrize("name", FIRING)
def test_fires_once(name: str, tmp_path: Path) -> None:
    found = [finding.code for finding in lint_files(tmp_path, {"merge.py": FIRING[name]})]
    assert found.count("LS310") == 1


@pytest.mark.parametrize("name", SILENT)
def test_silent(name: str, tmp_path: Path) -> None:
    found = [finding.code for finding in lint_files(tmp_path, {"merge.py": SILENT[name]})]
    assert "LS310" not in found


READ = """
        down = lora_sd[key].float()
        rank = down.shape[0]
        scale = float(lora_sd.get(key.split(".lora_down")[0] + ".alpha", rank)) / rank
"""
SCALED = {
    "a matrix product": ("(up @ down)", "(up @ down) * scale"),
    "an out-of-place sum": ("torch.mm(up, down)", "torch.mm(up, down) * scale"),
    "a strength called alpha": ("torch.matmul(up, down)", "torch.matmul(up, down) * scale"),
    "branches for convolutions": ("multiplier * delta", "multiplier * delta * scale"),
}
NORMS = """
import torch

def max_norm(state_dict, limit):
    down_keys = [key for key in state_dict if "lora_down" in key]
    up_keys = [key.replace("lora_down", "lora_up") for key in down_keys]
    for i in range(len(down_keys)):
        down = state_dict[down_keys[i]]
        up = state_dict[up_keys[i]]
        if up.dim() == 4:
            updown = (up.squeeze(2).squeeze(2) @ down.squeeze(2).squeeze(2)).unsqueeze(2).unsqueeze(3)
        else:
            updown = up @ down
        norm = updown.norm().clamp(min=limit / 2)
        ratio = torch.clamp(norm, max=limit) / norm
        state_dict[up_keys[i]] *= ratio**0.5
        state_dict[down_keys[i]] *= ratio**0.5
"""


@pytest.mark.parametrize("name", SCALED)
def test_alpha_is_read_beside_the_factors(name: str, tmp_path: Path) -> None:
    source = FIRING[name]
    texts, left = fix_files(tmp_path, {"lora_merge.py": source})
    expected = source.replace("\n        down = lora_sd[key].float()\n", READ).replace(*SCALED[name])
    assert texts == {"lora_merge.py": expected}
    assert left == ()


@pytest.mark.parametrize(
    ("key", "alpha"),
    [
        ('name + ".lora_down.weight"', 'name + ".alpha"'),
        ('f"{name}.lora_down.weight"', 'f"{name}.alpha"'),
        ('key.replace("lora_up", "lora_down")', 'key.split(".lora_up")[0] + ".alpha"'),
    ],
)
def test_the_key_of_alpha(key: str, alpha: str, tmp_path: Path) -> None:
    source = f"""\
def merge_lora(model, lora_sd):
    for key in [key for key in lora_sd if "lora_up" in key]:
        name = key.split(".lora_up")[0]
        weight_down = lora_sd[{key}]
        model.get(name).weight.data += lora_sd[name + ".lora_up.weight"] @ weight_down
"""
    texts, left = fix_files(tmp_path, {"lora_merge.py": source})
    assert f"        scale = float(lora_sd.get({alpha}, rank)) / rank\n" in texts["lora_merge.py"]
    assert '.lora_up.weight"] @ weight_down * scale\n' in texts["lora_merge.py"]
    assert left == ()


def test_all_products_whose_norm_is_taken_are_scaled(tmp_path: Path) -> None:
    texts, left = fix_files(tmp_path, {"lora_norm.py": NORMS})
    text = texts["lora_norm.py"]
    assert text.count("scale = float(") == 1
    assert ".unsqueeze(3) * scale\n" in text
    assert "updown = up @ down * scale\n" in text
    assert left == ()


def test_names_that_are_taken_are_left_alone(tmp_path: Path) -> None:
    source = FIRING["a matrix product"].replace("multiplier", "scale")
    texts, left = fix_files(tmp_path, {"lora_merge.py": source})
    assert "scale * (up @ down) * lora_scale\n" in texts["lora_merge.py"]
    assert left == ()


@pytest.mark.parametrize(
    "source",
    [
        # What a helper of the project made of the file may have other keys.
        FIRING["a matrix product"]
        + """

def merge_file(model, path):
    merge_lora(model, renamed(path))


def renamed(path):
    return {key: tensor for key, tensor in torch.load(path).items()}
""",
    ],
)
def test_what_may_hold_no_alpha_is_not_repaired(source: str, tmp_path: Path) -> None:
    found = lint_files(tmp_path, {"lora_merge.py": source}, codes=["LS310"])
    assert [item.fix for item in found] == [None]


def test_alpha_is_folded_where_the_factors_are_renamed(tmp_path: Path) -> None:
    source = FIRING["paired by one method, merged by another"]
    texts, left = fix_files(tmp_path, {"lora_merge.py": source}, codes=["LS310"])
    down = 'lora_sd[key.replace("lora_up", "lora_down")]'
    folded = f"""rank = {down}.shape[0]
                scale = float(lora_sd.get(key.split(".lora_up")[0] + ".alpha", rank)) / rank
                found[name + ".lora_A.weight"] = {down} * scale"""
    before = f'found[name + ".lora_A.weight"] = {down}'
    assert texts == {"lora_merge.py": source.replace(before, folded)}
    assert left == ()


WEIGHTED = """
import torch

def merge(weights, path):
    adapter = torch.load(path)
    for name in weights:
        up = adapter[f"base_model.model.{name}.lora_{up}.weight"]
        down = adapter[f"base_model.model.{name}.lora_{down}.weight"]
        weights[name] = weights[name] + {weight}(up @ down)
"""


@pytest.mark.parametrize(
    ("down", "up", "weight", "confidence"),
    [
        ("A", "B", "0.7 * ", "medium"),  # it may be alpha / rank
        ("A", "B", "", "high"),
        ("down", "up", "0.7 * ", "high"),  # which has an alpha for each module
    ],
)
def test_a_number_that_may_be_the_scale(
    down: str, up: str, weight: str, confidence: str, tmp_path: Path
) -> None:
    source = WEIGHTED.replace("{up}", up).replace("{down}", down).replace("{weight}", weight)
    found = lint_files(tmp_path, {"merge.py": source}, codes=["LS310"])
    assert [item.confidence for item in found] == [confidence]


BASE_BESIDE = """\
import torch
from safetensors.torch import load_file


class Model:
    def load(self, path, lora_path, scale=1.0):
        kept = {}
        for key, value in load_file(path).items():
            kept[key] = value if key != "alpha" else torch.zeros_like(value)
        with open_file(lora_path) as local:
            kept = self.merge_pairs(kept, load_file(local), scale)
        self.load_state_dict(kept)

    def merge_pairs(self, weights, lora, scale=1.0):
        pairs = {}
        for key, value in lora.items():
            if "alpha" in key:
                continue
            module, _, kind = key.partition(".lora_")
            pairs.setdefault(module + ".weight", {})[kind] = value
        for key, pair in pairs.items():
            weights[key] += scale * torch.matmul(pair["up.weight"], pair["down.weight"])
        return weights
"""


def test_a_checkpoint_that_is_handed_on_beside_says_nothing_of_the_adapter(tmp_path: Path) -> None:
    found = lint_files(tmp_path, {"lora_model.py": BASE_BESIDE}, codes=["LS310"])
    assert [finding.span.start.row for finding in found] == [22]


MOMENTS = """
import numpy as np
from safetensors.torch import load_file


def kurtosis(matrix):
    flat = matrix.float().numpy().flatten()
    mean = np.mean(flat)
    return float(np.mean(((flat - mean) / np.std(flat)) ** 4))


def look_at(path, base):
    tensors = load_file(path + "/adapter_model.safetensors")
    for name in [key for key in tensors if "lora_A" in key]:
        delta = tensors[name.replace("lora_A", "lora_B")] @ tensors[name]
        print({use})
"""


@pytest.mark.parametrize(
    ("use", "codes"),
    [("kurtosis(delta)", []), ('base[name.replace("lora_A.", "")] - delta', ["LS310"])],
    ids=["moments", "taken from a base"],
)
def test_moments_of_a_product(use: str, codes: list[str], tmp_path: Path) -> None:
    found = lint_files(tmp_path, {"lora_look.py": MOMENTS.format(use=use)})
    assert [finding.code for finding in found if finding.code == "LS310"] == codes


COMPARED = """
import safetensors.torch
import torch


def compare_error(orig_state_dict, new_state_dict):
    for key in orig_state_dict:
        if "lora_A.weight" in key or "lora_down.weight" in key:
            if "lora_A.weight" in key:
                down, up = key, key.replace("lora_A.weight", "lora_B.weight")
            else:
                down, up = key, key.replace("lora_down.weight", "lora_up.weight")
            lora_A_old, lora_B_old = orig_state_dict[down], orig_state_dict[up]
            lora_A_new, lora_B_new = new_state_dict[down], new_state_dict[up]
            delta_old = (lora_B_old @ lora_A_old).to("cuda")
            delta_new = lora_B_new @ lora_A_new
            print(torch.norm(delta_old - delta_new, p="fro") / torch.norm(delta_old, p="fro"))


def main(path, other):
    compare_error(safetensors.torch.load_file(path), safetensors.torch.load_file(other))
"""


@pytest.mark.parametrize("difference", ["delta_old - delta_new", "delta_new - delta_old"])
def test_two_products_are_compared(difference: str, tmp_path: Path) -> None:
    source = COMPARED.replace("delta_old - delta_new", difference)
    found = lint_files(tmp_path, {"lora_compare.py": source})
    assert "LS310" not in {finding.code for finding in found}


LAYER_TABLE = """
import jax.numpy as jnp


def lora_dense(params, kernel, x):
    lora_out = jnp.dot(jnp.dot(x, params["lora_a"]), params["lora_b"])
    return jnp.dot(x, kernel) + {scale} * lora_out
"""


@pytest.mark.parametrize("scale", ['params["scale"]', 'params["lora_scale"]', 'params.get("scaling")'])
def test_a_layer_whose_table_holds_the_scale(scale: str, tmp_path: Path) -> None:
    """Whoever made the table has divided."""
    source = LAYER_TABLE.format(scale=scale)
    assert "LS310" not in [f.code for f in lint_files(tmp_path, {"lora_dense.py": source})]


def test_a_strength_beside_the_table_is_no_scale(tmp_path: Path) -> None:
    head = "def init(key, rank, alpha):\n    return {'lora_a': key, 'lora_b': key, 'alpha': alpha}\n"
    source = LAYER_TABLE.format(scale="strength").replace("kernel, x", "kernel, x, strength") + "\n\n" + head
    silent = LAYER_TABLE.format(scale='params["scale"]') + "\n\n" + head
    found = [f.code for f in lint_files(tmp_path, {"lora_dense.py": source}, codes=["LS310"])]
    assert found == ["LS310"]
    assert lint_files(tmp_path, {"lora_dense.py": silent}, codes=["LS310"]) == ()
