"""LS207: constant defaults of a missing alpha, and defaults that are right."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import fix_files
from tests.test_rule_examples import findings

MERGE = """\
def merge_lora(weight, sd, name, network_alphas, strength=1.0):
    down = sd[name + ".lora_down.weight"]
    up = sd[name + ".lora_up.weight"]
{body}
    return weight + scale * (up @ down)
"""


@pytest.mark.parametrize(
    "body",
    [
        '    scale = sd.get(f"{name}.alpha", 1.0) / down.shape[0]',
        '    rank = down.shape[0]\n    scale = float(sd.pop(name + ".alpha", 16)) / rank',
        '    key = name + ".alpha"\n    alpha = sd[key].item() if key in sd else 1.0\n'
        "    scale = strength * alpha / down.shape[0]",
        '    key = name + ".lora_alpha"\n    if key in sd:\n        alpha = sd[key]\n    else:\n'
        "        alpha = 8\n    scale = alpha / down.size(0)",
        '    alpha = sd.get(name + ".alpha")\n    alpha = 1.0 if alpha is None else alpha.item()\n'
        "    scale = alpha / down.shape[0]",
        '    alpha = sd.get(name + ".alpha", None)\n    if alpha is None:\n        alpha = 1\n'
        "    scale = alpha / down.shape[0]",
        "    scale = network_alphas.get(name, 1.0) / down.shape[0]",
        '    alpha = sd.get(name + ".alpha") or torch.tensor(1.0)\n    scale = alpha.item() / down.shape[0]',
        '    alpha = sd.get(name + ".alpha", torch.tensor(4.0))\n    scale = alpha / down.shape[0]',
        '    try:\n        alpha = sd[name + ".alpha"].item()\n    except KeyError:\n        alpha = 1\n'
        "    scale = alpha / down.shape[0]",
    ],
)
def test_constant_default_fires(tmp_path: Path, body: str) -> None:
    found = findings(MERGE.format(body=body), tmp_path, "LS207")
    assert [finding.code for finding in found] == ["LS207"]


@pytest.mark.parametrize(
    ("lookup", "new"),
    [
        ('sd.get(name + ".alpha", 1.0)', 'sd.get(name + ".alpha", down.shape[0])'),
        ('float(sd.pop(f"{name}.alpha", 1))', 'float(sd.pop(f"{name}.alpha", down.shape[0]))'),
        (
            'sd[name + ".alpha"] if name + ".alpha" in sd else 1.0',
            'sd[name + ".alpha"] if name + ".alpha" in sd else down.shape[0]',
        ),
    ],
)
def test_the_default_becomes_the_rank(tmp_path: Path, lookup: str, new: str) -> None:
    source = """\
def merge_lora(weight, sd, name):
    up, down = sd[name + ".lora_up.weight"], sd[name + ".lora_down.weight"]
    alpha = {lookup}
    return weight + alpha / down.shape[0] * (up @ down)
"""
    files = {"lora.py": source.format(lookup=lookup)}
    texts, left = fix_files(tmp_path, files, unsafe=True)
    assert texts["lora.py"] == source.format(lookup=new)
    assert left == ()
    assert fix_files(tmp_path, files)[0] == files


def test_no_repair_where_the_rank_comes_later(tmp_path: Path) -> None:
    source = """\
def merge_lora(weight, sd, name):
    alpha = sd.get(name + ".alpha", 1.0)
    up, down = sd[name + ".lora_up.weight"], sd[name + ".lora_down.weight"]
    return weight + alpha / down.shape[0] * (up @ down)
"""
    texts, left = fix_files(tmp_path, {"lora.py": source}, unsafe=True)
    assert texts["lora.py"] == source
    assert [finding.code for finding in left] == ["LS207"]


def test_default_through_a_helper_and_a_dead_fallback(tmp_path: Path) -> None:
    source = """\
def get_lora(sd, name):
    return sd[name + ".lora_A"], sd[name + ".lora_B"], sd.get(name + ".alpha", 1.0)


def apply_lora(weight, parts):
    lora_A, lora_B, alpha = parts
    rank = lora_A.shape[0]
    if alpha is None:
        alpha = rank
    return weight + (lora_B @ lora_A) * (alpha / rank)


def apply_all(weights, sd):
    for name in weights:
        weights[name] = apply_lora(weights[name], get_lora(sd, name))
"""
    (found,) = findings(source, tmp_path, "LS207")
    assert found.span.start.row == 2
    assert any("can never run" in step.message for step in found.trace)


@pytest.mark.parametrize(
    "body",
    [
        '    scale = sd.get(name + ".alpha", down.shape[0]) / down.shape[0]',
        '    alpha = sd.get(name + ".alpha")\n    alpha = down.shape[0] if alpha is None else alpha\n'
        "    scale = alpha / down.shape[0]",
        '    scale = sd.get(name + ".alpha", 1.0)',
        '    scale = sd.get("lora_alpha", 8) / down.shape[0]',
        '    scale = sd.get(name + ".alpha_scale", 1.0) / down.shape[0]',
        '    key = name + ".alpha"\n    alpha = sd.get(key, 1.0)\n'
        "    scale = alpha / down.shape[0] if key in sd else 1.0",
        '    key = name + ".alpha"\n    scale = sd[key] / down.shape[0] if key in sd else 1.0',
        '    alpha = sd.get(name + ".alpha", 0)\n    scale = alpha / down.shape[0] if alpha != 0 else 1.0',
        '    key = name + ".alpha"\n    if key not in sd:\n        sd[key] = down.shape[0]\n'
        "    scale = sd.get(key, 1.0) / down.shape[0]",
        '    alpha = sd.get(name + ".alpha", 1.0)\n    scale = alpha / len(sd)',
        '    alpha = sd.get(name + ".alpha")\n    if alpha is None:\n        alpha, rank = 1.0, 1.0\n'
        "    else:\n        rank = down.shape[0]\n    scale = alpha / rank",
        '    key = name + ".alpha"\n    alpha = sd.get(key, 1.0)\n    ratio = alpha / down.shape[0]\n'
        "    scale = ratio if key in sd else 1.0",
        "    scale = network_alphas.get(name, down.shape[0]) / down.shape[0]",
    ],
)
def test_right_defaults_are_silent(tmp_path: Path, body: str) -> None:
    assert findings(MERGE.format(body=body), tmp_path, "LS207") == ()


def test_keys_by_format_where_a_missing_alpha_is_saved(tmp_path: Path) -> None:
    source = """\
def save_lora(modules, shorten):
    out = {}
    for key, (up, down, alpha) in modules.items():
        name = key[:-7] if shorten else key
        alpha_key = "{}.alpha".format(name)
        stored = torch.tensor(1.0) if alpha is None else alpha.cpu()
        out["{}.lora_up.weight".format(name)] = up
        out["{}.lora_down.weight".format(name)] = down
        out[alpha_key] = stored
    return out
"""
    (found,) = findings(source, tmp_path, "LS207")
    assert found.message == "a missing alpha is saved as 1, and not as the layer's rank"


CHOSEN = """\
def merge_lora(weights, sd, args, default_alpha={default}):
    for name in weights:
        down, key = sd[name + ".lora_down.weight"], name + ".alpha"
        alpha = sd.get(key, {alpha})
        weights[name] += alpha / down.shape[0] * (sd[name + ".lora_up.weight"] @ down)


def main(parser, weights, sd):
    parser.add_argument("--alpha", default=8.0)
    merge_lora(weights, sd, parser.parse_args())
"""


@pytest.mark.parametrize(
    ("alpha", "default", "found"),
    [
        ("default_alpha", "16", ["medium"]),
        ("args.alpha", "16", ["medium"]),
        ("default_alpha", "None", []),
        ("args.network_alpha", "16", []),
    ],
)
def test_a_default_that_somebody_may_choose(
    alpha: str, default: str, found: list[str], tmp_path: Path
) -> None:
    source = CHOSEN.format(alpha=alpha, default=default)
    assert [item.confidence for item in findings(source, tmp_path, "LS207")] == found


LISTED = """\
def merge_lora(weights, sd, alpha):
    alphas = {{key[:-6]: sd[key].item() for key in sd if key.endswith(".alpha")}}
    for name in weights:
        down, up = sd[name + ".lora_down.weight"], sd[name + ".lora_up.weight"]
        weights[name] += (up @ down) * (alphas.get(name, {stand_in}) / down.shape[0])


def main(parser, weights):
    parser.add_argument("--lora_path", nargs="*")
    parser.add_argument("--lora_alpha", nargs="*", default={default})
    args = parser.parse_args()
    for path, alpha in zip(args.lora_path, args.lora_alpha):
        merge_lora(weights, load_file(path), alpha)
"""


@pytest.mark.parametrize(
    ("stand_in", "default", "found"),
    [
        ("alpha", "[1.0]", ["high"]),
        ("alpha", "[16.0]", ["medium"]),
        ("alpha", "None", []),
        ("down.shape[0]", "[1.0]", []),
    ],
)
def test_one_of_several_that_an_option_gives(
    stand_in: str, default: str, found: list[str], tmp_path: Path
) -> None:
    source = LISTED.format(stand_in=stand_in, default=default)
    assert [item.confidence for item in findings(source, tmp_path, "LS207")] == found


GATHERED = """\
def convert_lora(sd):
    converted = {{}}
    alphas = {{}}
    for key, value in sd.items():
        if key.endswith(".alpha"):
            alphas[key.replace(".alpha", "")] = float(value)
{more}
    for key, value in sd.items():
        if "lora_down" in key:
            name = key.replace(".lora_down.weight", "")
            rank = value.shape[0]
            converted[key] = value * (alphas.get(name, {default}) / rank)
    return converted
"""


def test_default_of_a_gathered_table_fires(tmp_path: Path) -> None:
    source = GATHERED.format(more="", default="1.0")
    assert [finding.code for finding in findings(source, tmp_path, "LS207")] == ["LS207"]


@pytest.mark.parametrize(
    ("more", "default"),
    [
        ("", "rank"),
        (
            "        elif key.endswith('.lora_down.weight'):\n"
            "            alphas.setdefault(key[:-17], value.shape[0])\n"
            "            alphas[key[:-17]] = value.shape[0]",
            "1.0",
        ),
    ],
)
def test_a_complete_table_is_silent(tmp_path: Path, more: str, default: str) -> None:
    source = GATHERED.format(more=more, default=default)
    assert findings(source, tmp_path, "LS207") == ()


def test_division_in_a_helper_without_lora_words(tmp_path: Path) -> None:
    source = """\
def compute_delta(down, up, alpha, rank):
    return alpha / rank * (up @ down)


def merge_lora(weights, sd):
    for name in weights:
        down = sd[name + ".lora_down.weight"]
        alpha = sd.get(name + ".alpha", {default})
        weights[name] += compute_delta(down, sd[name + ".lora_up.weight"], alpha, down.shape[0])
"""
    assert [f.code for f in findings(source.format(default="1.0"), tmp_path, "LS207")] == ["LS207"]
    assert findings(source.format(default="down.shape[0]"), tmp_path, "LS207") == ()


LOOP = """\
def convert_lora(sd):
    converted = {{}}
    for key in list(sd):
        if not key.endswith(".lora_down.weight"):
            continue
        alpha_key = key[: key.index("lora_down")] + "alpha"
        down = sd.pop(key)
        rank = down.{extent}
        converted[key] = down * (sd.pop(alpha_key, {default}) / rank)
    return converted
"""


@pytest.mark.parametrize("extent", ["shape[0]", "size(0)", "size()[0]"])
def test_the_rank_is_an_extent_of_what_a_loop_pops(tmp_path: Path, extent: str) -> None:
    source = LOOP.format(extent=extent, default="1.0")
    assert [f.code for f in findings(source, tmp_path, "LS207")] == ["LS207"]
    assert findings(LOOP.format(extent=extent, default="rank"), tmp_path, "LS207") == ()


TABLES = """\
def fuse_lora(weights, sd):
    groups = defaultdict(dict)
    for key, value in sd.items():
        if key.endswith(".alpha"):
            groups[key.removesuffix(".alpha")]["alpha"] = value.item()
        elif ".lora_down" in key:
            groups[key.partition(".lora_")[0]]["lora_down"] = value
        else:
            groups[key.partition(".lora_")[0]]["lora_up"] = value
    {more}
    for name, group in groups.items():
        scale = group.get("alpha", {default}) / group["lora_down"].shape[0]
        weights[name] += scale * (group["lora_up"] @ group["lora_down"])
"""


def test_default_in_the_table_of_one_module(tmp_path: Path) -> None:
    source = TABLES.format(default="1.0", more="")
    assert [f.code for f in findings(source, tmp_path, "LS207")] == ["LS207"]
    rank = 'group["lora_down"].shape[0]'
    assert findings(TABLES.format(default=rank, more=""), tmp_path, "LS207") == ()
    filled = (
        "for group in groups.values():\n"
        '        if "alpha" not in group:\n            group["alpha"] = group["lora_down"].shape[0]'
    )
    assert findings(TABLES.format(default="1.0", more=filled), tmp_path, "LS207") == ()


PATCH = """\
def patch_linear(module, lora_down, {up}alpha=None):
    rank = lora_down.shape[0]
    {body}
    scale = alpha / rank
    return lambda x: module(x) + scale * (x @ lora_down.T @ lora_up.T)
"""


@pytest.mark.parametrize(
    ("up", "body", "calls", "fires"),
    [
        ("lora_up, ", "if alpha is None:\n        alpha = 1.0", "", True),
        ("lora_up, ", "alpha = alpha if alpha is not None else 16", "patch_linear(m, down, up)", True),
        ("lora_up, ", "alpha = rank if alpha is None else alpha", "patch_linear(m, down, up)", False),
        ("", "if alpha is None:\n        alpha = 1.0", "", False),
        ("lora_up, ", "if alpha is None:\n        alpha = 1.0", "patch_linear(m, down, up, alpha=a)", False),
    ],
)
def test_an_alpha_left_out_beside_the_factors(
    up: str, body: str, calls: str, fires: bool, tmp_path: Path
) -> None:
    source = PATCH.format(up=up, body=body) + (f"\n\ndef patch(m, down, up, a):\n    {calls}\n" * bool(calls))
    assert [f.code for f in findings(source, tmp_path, "LS207")] == ["LS207"] * fires


NEW_LAYERS = """\
class LoraHierarchy:
    def __init__(self, size, config):
        self.adapters = {{}}
        for name, chosen in config["domains"].items():
            self.adapters[name] = self.make(size, {rank}, chosen.get("lora_alpha", 32))

    def make(self, size, r, lora_alpha):
        return {{
            "lora_A": nn.Linear(size, r, bias=False),
            "lora_B": nn.Linear(r, size, bias=False),
            "scaling": nn.Parameter(torch.tensor(lora_alpha / r)),
        }}
"""


@pytest.mark.parametrize(("rank", "count"), [('chosen.get("r", 16)', 0), ('chosen["r"]', 1)])
def test_settings_that_have_a_default_for_the_rank_too(rank: str, count: int, tmp_path: Path) -> None:
    assert len(findings(NEW_LAYERS.format(rank=rank), tmp_path, "LS207")) == count


PATTERNS = """\
class LoraLayer:
    def __init__(self, size):
        self.size = size

    def update(self, r, lora_alpha, use_rslora):
        self.lora_A = nn.Linear(self.size, r, bias=False)
        self.lora_B = nn.Linear(r, self.size, bias=False)
        self.scaling = lora_alpha / math.sqrt(r) if use_rslora else lora_alpha / r


class LoraModel:
    def replace(self, lora_config, sd, name, target: LoraLayer):
        r = {rank}
        alpha = lora_config.alpha_pattern.get(name, lora_config.lora_alpha)
        target.update(r, alpha, lora_config.use_rslora)


def main(parser):
    parser.add_argument("--lora_alpha", default=32)
    return parser.parse_args()
"""


@pytest.mark.parametrize(
    ("rank", "count"),
    [
        ("lora_config.rank_pattern.get(name, lora_config.r)", 0),
        ("lora_config.rank_pattern[name] if name in lora_config.rank_pattern else lora_config.r", 0),
        ('sd[name + ".lora_A.weight"].shape[0]', 1),
    ],
)
def test_an_option_beside_a_table_that_has_one_for_the_rank_too(
    rank: str, count: int, tmp_path: Path
) -> None:
    assert len(findings(PATTERNS.format(rank=rank), tmp_path, "LS207")) == count


@pytest.mark.parametrize(
    ("body", "count"),
    [
        ('return up @ down * ((parts["alpha"] if "alpha" in parts else 1.0) / down.shape[0])', 1),
        ('return up @ down * (parts.get("alpha", 1) / down.shape[0])', 1),
        ('return up @ down * ((parts["alpha"] if "alpha" in parts else rank) / rank)', 0),
        ('return up @ down * (settings.get("alpha", 16) / rank)', 0),
        ('return up @ down * (parts["alpha"] / rank if "alpha" in parts else 1.0)', 0),
    ],
)
def test_the_alpha_beside_the_factors_of_one_module(body: str, count: int, tmp_path: Path) -> None:
    source = f"""\
def delta(parts, settings):
    up, down = parts["lora_up.weight"], parts["lora_down.weight"]
    rank = down.shape[0]
    {body}
"""
    assert len(findings(source, tmp_path, "LS207")) == count
