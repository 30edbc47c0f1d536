"""What is asked, before anybody answers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from lorascale_lint.verify.adapter_files import write_adapter
from lorascale_lint.verify.inputs import generator_for, make_tensors
from lorascale_lint.verify.protocol import Capability, Form, LayerKind, Naming
from lorascale_lint.verify.reference import TOLERANCES, judge, wrong_scales
from lorascale_lint.verify.scenarios import scenarios
from lorascale_lint.verify.steps import Adapter, KeyStyle, Scenario
from lorascale_lint.verify.verdicts import Verdict
from tests.verify.test_reference import product

KINDS = [LayerKind("One"), LayerKind("Two"), LayerKind("Odd", optional=True)]
ALL = frozenset(Capability)


def every() -> list[Scenario]:
    return [
        *scenarios(KINDS, ALL),
        *scenarios(KINDS, ALL - {Capability.LAYER_SETTER_ALPHA}),
        *scenarios(VARIANTS, ALL, [KeyStyle.PEFT_FOLDER, KeyStyle.DIFFUSERS_METADATA], [Naming.MODEL]),
    ]


VARIANTS = [
    LayerKind("One"),
    LayerKind("Root", rslora=True),
    LayerKind("DoRA", form=Form.DORA),
    LayerKind("LoHa", form=Form.HADAMARD),
    LayerKind("LoKr", form=Form.KRONECKER),
]


def test_names_are_unique() -> None:
    for asked in (scenarios(KINDS, ALL), scenarios(VARIANTS, ALL, list(KeyStyle), [Naming.MODEL])):
        names = [scenario.name for scenario in asked]
        assert len(names) == len(set(names))


def test_only_what_a_loader_claims_counts() -> None:
    asked = scenarios([], ALL, [KeyStyle.KOHYA], [Naming.MODEL])
    for scenario in asked:
        claimed = all(adapter.style is KeyStyle.KOHYA for adapter in scenario.adapters)
        assert scenario.counted is claimed, scenario.name
        assert scenario.optional is not claimed, scenario.name
        assert all(adapter.naming is Naming.MODEL for adapter in scenario.adapters)


def test_switching_needs_a_target_that_switches() -> None:
    without = ALL - {Capability.MODEL_CACHE, Capability.MODEL_SWITCH}
    switching = [item for item in scenarios([], without) if item.name.startswith("A, B, A")]
    assert switching
    assert all(Capability.MODEL_SWITCH in item.needs for item in switching)
    either = scenarios([], without | {Capability.MODEL_SWITCH})
    assert all(Capability.MODEL_SWITCH not in item.needs for item in either)


def test_a_configuration_always_states_alpha() -> None:
    asked = scenarios([], ALL, [KeyStyle.PEFT_FOLDER], [Naming.MODEL])
    assert all(adapter.alpha is not None for item in asked for adapter in item.adapters)


def test_every_scenario_asks_something() -> None:
    assert all(scenario.blank_rows() for scenario in every())


def test_no_check_would_pass_for_a_known_mistake() -> None:
    """The numbers of every term tell the mistakes from the right answer."""
    for scenario in every():
        for measure in scenario.measures():
            for term in measure.terms:
                if term.scale == 0:
                    continue
                adapter = scenario.adapter(term.adapter)
                stale = [(old.alpha, old.rank) for old in map(scenario.adapter, term.stale) if old.alpha]
                known = wrong_scales(adapter.alpha, adapter.rank, term.strength, stale, rslora=adapter.rslora)
                answer = judge(term.scale, term.scale, 0.0, TOLERANCES["bfloat16"], hypotheses=known)
                assert answer is Verdict.OK, (scenario.name, term)


def test_alpha_goes_through_the_constructor_where_the_setter_takes_none() -> None:
    without = ALL - {Capability.LAYER_SETTER_ALPHA}
    merged = {scenario.name: scenario.layer for scenario in scenarios(KINDS, without)}
    layer = merged["merged, One, alpha 2.4"]
    assert layer is not None
    assert (layer.alpha, layer.rank) == (2.4, 8)


@pytest.mark.parametrize("style", list(KeyStyle))
def test_adapter_files_state_alpha_once(style: KeyStyle, tmp_path: Path) -> None:
    adapter = Adapter("A", 2.4, style=style, prefix="")
    made = make_tensors(generator_for(1), product(1, (12, 20)), 8, style.form).tensors
    write_adapter(tmp_path, adapter, {"m": made})
    (weights,) = tmp_path.glob("*.safetensors")
    tensors = load_file(weights)
    with safe_open(weights, framework="numpy") as file:
        metadata = {key: value for key, value in file.metadata().items() if key != "format"}
    config = tmp_path / "adapter_config.json"
    alphas = [key for key in tensors if key.rpartition(".")[2] in ("alpha", "lora_alpha", "alpha_scale")]
    assert sum(map(bool, (alphas, metadata, config.exists()))) == 1
    assert len(tensors) == len(made) + len(alphas)
    if alphas:
        expected = 0.3 if style in (KeyStyle.ALPHA_SCALE, KeyStyle.LONGCAT) else 2.4
        assert float(tensors[alphas[0]]) == pytest.approx(expected)
    if config.exists():
        assert json.loads(config.read_text())["lora_alpha"] == 2.4


def test_an_adapter_without_alpha_states_none(tmp_path: Path) -> None:
    write_adapter(tmp_path, Adapter("A", None), {"m": {"a": product(1, (8, 5)), "b": product(2, (6, 8))}})
    (weights,) = tmp_path.glob("*.safetensors")
    assert sorted(load_file(weights)) == ["m.lora_A.weight", "m.lora_B.weight"]


def test_longcat_files_spell_names_and_parts_as_their_loader_reads_them(tmp_path: Path) -> None:
    made = make_tensors(generator_for(1), product(1, (12, 20)), 8, Form.LOW_RANK).tensors
    write_adapter(tmp_path, Adapter("A", 4.0, style=KeyStyle.LONGCAT), {"blocks.0.attn.qkv": made})
    (weights,) = tmp_path.glob("*.safetensors")
    before = "lora___lorahyphen___blocks___lorahyphen___0___lorahyphen___attn___lorahyphen___qkv."
    tensors = {key.removeprefix(before): value for key, value in load_file(weights).items()}
    assert tensors["lora_down.weight"].shape == (24, 20)
    parts = [tensors[f"lora_up.blocks.{index}.weight"] for index in range(3)]
    whole = np.concatenate(
        [up @ down for up, down in zip(parts, np.split(tensors["lora_down.weight"], 3), strict=True)]
    )
    assert whole == pytest.approx(made["b"] @ made["a"], rel=1e-4, abs=1e-5)
    assert float(tensors["alpha_scale"]) == 0.5
