"""LS209: a table of alphas replaced by a number, and names that deliberately change."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.test_rule_examples import findings

TABLE = """\
def read_lora(weights):
    ranks = {{}}
    alphas = {made}
    for key, value in weights.items():
        name = key.split(".")[0]
        if "alpha" in key:
            alphas[name] = value
        elif "lora_down" in key:
            ranks[name] = value.shape[0]
{body}
    return ranks, alphas
"""
LOOP = "    for name in ranks:\n        if name not in alphas:\n            "


@pytest.mark.parametrize("made", ["{}", "dict()", "collections.OrderedDict()"])
@pytest.mark.parametrize("value", ["ranks[name]", "1.0", "int(ranks[name])"])
def test_table_replaced_by_a_number_fires(tmp_path: Path, made: str, value: str) -> None:
    source = TABLE.format(made=made, body=f"{LOOP}alphas = {value}")
    assert [f.code for f in findings(source, tmp_path, "LS209")] == ["LS209"]


@pytest.mark.parametrize(
    "body",
    [
        LOOP + "alphas[name] = ranks[name]",
        LOOP + "alpha = ranks[name]",
        LOOP + "alphas = dict(alphas, name=ranks[name])",
        LOOP + "alphas = {**alphas, name: ranks[name]}",
        LOOP + "alphas = complete(alphas)",
        "    if len(alphas) == 0:\n        alphas = 1.0",
        "    for alphas in (1.0, 2.0):\n        print(alphas)",
    ],
)
def test_other_bindings_are_silent(tmp_path: Path, body: str) -> None:
    assert findings(TABLE.format(made="{}", body=body), tmp_path, "LS209") == ()


def test_a_file_that_is_read_or_given(tmp_path: Path) -> None:
    source = """\
def create_network_from_weights(file, weights_sd=None):
    if weights_sd is None:
        weights_sd = load_file(file)
    modules_dim = {}
    modules_alpha = {}
    for key, value in weights_sd.items():
        lora_name = key.split(".")[0]
        if "alpha" in key:
            modules_alpha[lora_name] = value
        elif "lora_down" in key:
            dim = value.size()[0]
            modules_dim[lora_name] = dim
    for key in modules_dim.keys():
        if key not in modules_alpha:
            modules_alpha = modules_dim[key]
    return LoRANetwork(modules_dim, modules_alpha)
"""
    assert [f.code for f in findings(source, tmp_path, "LS209")] == ["LS209"]


def test_table_of_tables_is_silent(tmp_path: Path) -> None:
    source = """\
def choose_lora_alphas(groups, names):
    tables = {}
    alphas = {}
    for group in groups:
        tables[group] = read(group)
    for name in names:
        alphas[name] = 1.0
    for group in groups:
        if group not in alphas:
            alphas = tables[group]
    return alphas
"""
    assert findings(source, tmp_path, "LS209") == ()
