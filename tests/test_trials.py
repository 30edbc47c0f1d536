"""Functions tried on adapter files: which keys come out, and how bounded that is."""

from __future__ import annotations

from pathlib import Path

from lorascale_lint.examination import examine_paths
from lorascale_lint.ledger.applications import applications
from lorascale_lint.ledger.entries import Trial
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.provenance.regexes import compiled
from lorascale_lint.provenance.values import Text

RENAMES = """
import re
from safetensors.torch import load_file, save_file

TABLE = {r"^lora_unet_blocks_(\\d+)_(.*)$": r"blocks.\\1.\\2"}


def new_name(key):
    for pattern, replacement in TABLE.items():
        if found := re.match(pattern, key):
            return found.expand(replacement) if False else re.sub(pattern, replacement, key)
    return key


def convert_lora(src, dst):
    out = {}
    for key, tensor in load_file(src).items():
        if any(word in key for word in ("alpha", "dora")):
            continue
        module, ending = key[: key.rfind(".lora_")], key.rsplit(".", 2)[1]
        out[f"{new_name(module)}.{ {'lora_down': 'A', 'lora_up': 'B'}[ending] }"] = tensor
    save_file(out, dst)
"""


def ledger_of(source: str, folder: Path) -> Ledger:
    path = folder / "convert.py"
    path.write_text(source)
    ledger, failures = examine_paths([path], [])
    assert not failures
    return ledger


def written(trial: Trial) -> list[str | None]:
    return [write.key.literal for write in trial.ledger.writes if isinstance(write.key, Text)]


def test_keys_come_out_letter_by_letter(tmp_path: Path) -> None:
    trial, of_dora = ledger_of(RENAMES, tmp_path).trials
    assert trial.whole
    assert of_dora.sample.of_dora
    assert trial.sample.convention == "kohya"
    assert written(of_dora) == written(trial)
    assert [key for key in written(trial) if key and "." in key] == [
        "blocks.0.attn_to_q.A",
        "blocks.0.attn_to_q.B",
    ]


def test_a_parameter_may_hold_the_tensors(tmp_path: Path) -> None:
    source = """
def to_peft(sd):
    return {k.replace("lora_down", "lora_A").replace("lora_up", "lora_B"): v for k, v in sd.items()}
"""
    trials = ledger_of(source, tmp_path).trials
    assert {trial.parameter for trial in trials} == {"sd"}
    kohya = next(trial for trial in trials if trial.sample.convention == "kohya")
    assert written(kohya) == [
        "lora_unet_blocks_0_attn_to_q.lora_A.weight",
        "lora_unet_blocks_0_attn_to_q.lora_B.weight",
        "lora_unet_blocks_0_attn_to_q.alpha",
    ]


def test_a_parameter_that_is_an_entry_of_a_dictionary_is_no_file(tmp_path: Path) -> None:
    source = """
def merge_lora(weight, lora_down, lora_up, alpha):
    state = {"proj.lora_down.weight": lora_down, "proj.lora_up.weight": lora_up, "proj.alpha": alpha}
    for key in list(state):
        if key.endswith(".lora_down.weight"):
            up, number = state["proj.lora_up.weight"], state["proj.alpha"]
            weight += up @ state[key] * number / state[key].shape[1]
"""
    assert ledger_of(source, tmp_path).trials == []


def test_the_ledger_of_the_project_knows_nothing_of_the_trial(tmp_path: Path) -> None:
    ledger = ledger_of(RENAMES, tmp_path)
    assert not any("lora_unet_blocks_0" in str(write.key) for write in ledger.writes)


def test_patterns_that_may_take_long_are_not_run() -> None:
    assert compiled(r"^blocks\.(\d+)\.(.*)$") is not None
    assert compiled(r"(a+)+$") is None
    assert compiled(r".*.*.*.*.*.*.*x") is None
    assert compiled(r"(") is None


LATE = """
from safetensors.torch import load_file


class LoRAPipeline:
    def set_adapter(self, path):
        self.wrap_layers()
        for key, tensor in load_file(path).items():
            self.adapters[key.replace("lora_down", "lora_A")] = tensor

    def wrap_layers(self):
        for model in self.models:
            {much}
"""


def test_the_steps_of_a_trial_count_from_where_the_file_comes_in(tmp_path: Path) -> None:
    much = "\n            ".join(
        f"self.layers[model.name + str({i})] = [model, self.rank, {i}]" for i in range(300)
    )
    trials = ledger_of(LATE.format(much=much), tmp_path).trials
    (trial, *_) = [one for one in trials if one.function is not None and one.function.name == "set_adapter"]
    assert trial.whole
    assert "lora_unet_blocks_0_attn_to_q.lora_A.weight" in written(trial)


def test_a_file_that_a_function_opens_itself_is_tried_before_those_of_its_callees(tmp_path: Path) -> None:
    source = """
from safetensors.torch import load_file

def checked(path):
    return any("lora_alpha" in key for key in load_file(path))

def load_lora(path):
    ready = checked(path)
    return {key.replace("lora_A", "lora_down"): tensor for key, tensor in load_file(path).items()}
"""
    trials = ledger_of(source, tmp_path).trials
    (trial, *_) = [one for one in trials if one.function is not None and one.function.name == "load_lora"]
    assert any(key is not None and ".lora_down" in key for key in written(trial))


def test_what_a_caller_gives_under_a_key_outranks_the_name_of_the_key(tmp_path: Path) -> None:
    source = """
def apply_lora(weight, item):
    weight += (item["lora_up"] @ item["lora_down"]) * item["scale"]
    return weight


def merge_lora(weight, lora_down, lora_up, alpha):
    scale = alpha / lora_down.shape[1]
    return apply_lora(weight, {"lora_down": lora_down, "lora_up": lora_up, "scale": scale})
"""
    assert [found.formula for found in applications(ledger_of(source, tmp_path))] == ["unknown"]
