"""LS303's repair in other spellings, and where it must not be offered."""

from __future__ import annotations

from pathlib import Path

import pytest

from lorascale_lint.engine import lint
from lorascale_lint.findings import Finding
from tests.test_rule_examples import apply

LOADER = """
import re

from safetensors.torch import load_file

MAPPING = {{
    r"^blocks\\.(\\d+)\\.attn1\\.to_q\\.(.*)$": r"blocks.\\1.to_q{end}",
    r"^blocks\\.(\\d+)\\.attn1\\.to_k\\.(.*)$": r"blocks.\\1.to_k{end}",
}}


def get_mapping(table):
    def mapping_fn(name):
        for pattern, replacement in table.items():
            if re.match(pattern, name):
                return re.sub(pattern, replacement, name)
        return name

    return mapping_fn


def load_adapter(layers, path):
    adapter = {{}}
    mapping_fn = get_mapping(MAPPING)
    for name, weight in load_file(path).items():
        if name.endswith(".lora_alpha"):
{store}
            continue
        adapter[mapping_fn(name)] = weight
    for name, layer in layers.items():
        alpha = adapter.get(name + ".lora_alpha")
        lora_A, lora_B = adapter[name + ".lora_A"], adapter[name + ".lora_B"]
        layer.weight.data += (alpha / lora_A.shape[0]) * (lora_B @ lora_A)
"""


def loader(store: str, end: str = r".\2") -> str:
    return LOADER.format(store="\n".join(" " * 12 + line for line in store.splitlines()), end=end)


def found(folder: Path, store: str, end: str = r".\2") -> tuple[str, Finding]:
    path = folder / "loader.py"
    path.write_text(loader(store, end))
    (finding,) = lint([path], [], codes=("LS303",)).findings
    return path.read_text(), finding


@pytest.mark.parametrize(
    ("store", "repaired"),
    [
        (
            'layer = name.replace(".lora_alpha", "")\n'
            "layer = mapping_fn(layer)\n"
            'adapter[layer + ".lora_alpha"] = weight.item()',
            "layer = mapping_fn(name)\nadapter[layer] = weight.item()",
        ),
        (
            '# without its suffix\nlayer = name.removesuffix(".lora_alpha")\n'
            "mapped = mapping_fn(layer)\n"
            'key = mapped + ".lora_alpha"\n'
            "adapter[key] = weight.item()",
            "# without its suffix\nlayer = name\nmapped = mapping_fn(layer)\nkey = mapped\n"
            "adapter[key] = weight.item()",
        ),
        (
            'mapped = mapping_fn(name.removesuffix(".lora_alpha"))\n'
            'adapter[mapped + ".lora_alpha"] = weight.item()',
            "mapped = mapping_fn(name)\nadapter[mapped] = weight.item()",
        ),
    ],
)
def test_the_key_is_mapped_whole(tmp_path: Path, store: str, repaired: str) -> None:
    source, finding = found(tmp_path, store)
    assert apply(source, finding) == loader(repaired)
    (tmp_path / "loader.py").write_text(apply(source, finding))
    assert lint([tmp_path / "loader.py"], []).findings == ()


@pytest.mark.parametrize(
    ("store", "end"),
    [
        # The replacement would lose the suffix.
        (
            'mapped = mapping_fn(name.replace(".lora_alpha", ""))\nadapter[mapped + ".lora_alpha"] = weight',
            "",
        ),
        # The bare name is needed for another key.
        (
            'mapped = mapping_fn(name.replace(".lora_alpha", ""))\n'
            'adapter[mapped + ".lora_alpha"] = weight\n'
            'adapter[mapped + ".rank"] = weight.numel()',
            r".\2",
        ),
        # What is put back is another suffix.
        ('mapped = mapping_fn(name.replace(".lora_alpha", ""))\nadapter[mapped + ".alpha"] = weight', r".\2"),
    ],
)
def test_no_repair_that_is_not_certain(tmp_path: Path, store: str, end: str) -> None:
    _, finding = found(tmp_path, store, end)
    assert finding.fix is None


MANY_NAMES = r"""
import re

LEAVES = {
    ".attention.query.": ".attn.to_q.",
    ".attention.key.": ".attn.to_k.",
    ".attention.value.": ".attn.to_v.",
    ".attention.out.": ".attn.to_out.0.",
    ".feed.up.": ".ff.up.",
    ".feed.down.": ".ff.down.",
}
TOP = {
    "enter": "image_in",
    "time.0": "time_embed.linear_1",
    "time.2": "time_embed.linear_2",
    "text.1": "text_in.linear_1",
    "text.3": "text_in.linear_2",
    "leave": "final_layer.linear",
}
BLOCKS = re.compile(r"(^|\.)blocks\.")


def put_in_place(key: str, old: str, new: str) -> str:
    return re.sub(rf"(^|\.){re.escape(old)}\.", rf"\1{new}.", key)


def is_old(key: str) -> bool:
    return any(put_in_place(key, old.strip("."), "old") != key for old in (*LEAVES, *TOP))


def new_name(key: str) -> str:
    key = BLOCKS.sub(r"\1transformer_blocks.", key)
    for old, new in TOP.items():
        key = put_in_place(key, old, new)
    for old, new in LEAVES.items():
        key = key.replace(old, new)
    return key


def convert_lora(state_dict):
    converted = {}
    for key, value in state_dict.items():
        new = new_name(key) if isinstance(key, str) and is_old(key) else key
        converted[new] = value
    return converted
"""


def test_factors_under_a_name_that_is_not_known_are_silent(tmp_path: Path) -> None:
    """So many renamings that no look knows the new name: alpha may be stored under the same."""
    path = tmp_path / "lora_names.py"
    path.write_text(MANY_NAMES)
    assert lint([path], [], codes=("LS303",)).findings == ()


ALL_OR_NONE = """
def convert_lora(state_dict):
    suffixes = {{}}
    for key in state_dict:
        module, _, suffix = key.partition(".")
        suffixes.setdefault(module, set()).add(suffix)
    mine = {{"lora_down.weight", "lora_up.weight", "alpha"}}
    known = {{name for name, found in suffixes.items() if found <= mine}}
    converted = {{}}
    for key, value in state_dict.items():
        module, dot, suffix = key.partition(".")
        name = unflattened(module)
        new = key
        if name is not None and {condition}:
            new = f"{{name}}{{dot}}{{suffix}}"
        converted[new] = value
    return converted
"""


@pytest.mark.parametrize(
    ("condition", "codes"), [("module in known", []), ('"lora_" in suffix and module in known', ["LS303"])]
)
def test_a_module_is_renamed_whole_or_not_at_all(condition: str, codes: list[str], tmp_path: Path) -> None:
    path = tmp_path / "lora_names.py"
    path.write_text(ALL_OR_NONE.format(condition=condition))
    assert [finding.code for finding in lint([path], [], codes=("LS303",)).findings] == codes
