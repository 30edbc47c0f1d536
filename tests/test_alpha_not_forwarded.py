"""LS305 in other spellings, and gathered alphas that do reach somebody."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import lint_files

GATHER = """
class LoRANetwork:
    def __init__(self, model, multiplier=1.0, {parameters}):
        self.model = model

def create_network_from_weights(model, multiplier, weights):
    modules_alpha = {{}}
    for key, value in weights.items():
        lora_name = key.split(".")[0]
        if {test}:
            modules_alpha[lora_name] = {value}
    {use}
"""
CALL = "return LoRANetwork(model, multiplier=multiplier)"


def gather(
    use: str = CALL,
    *,
    parameters: str = "modules_alpha=None",
    test: str = '"alpha" in key',
    value: str = "value",
) -> str:
    """A function that gathers alphas, by the parts that differ."""
    return GATHER.format(use=use, parameters=parameters, test=test, value=value)


FIRING = {
    "by suffix": gather(test='key.endswith(".alpha")'),
    "converted": gather(value="value.item()"),
    "one alpha for all modules": gather(parameters="lora_dim=4, alpha=1"),
    "network alphas": gather(parameters="network_alphas=None"),
    "asked for keys only": gather("print('x' in modules_alpha)\n    " + CALL),
}
SILENT = {
    "passed": gather("return LoRANetwork(model, multiplier, modules_alpha=modules_alpha)"),
    "passed by position": gather("return LoRANetwork(model, multiplier, modules_alpha)"),
    "returned beside": gather("return LoRANetwork(model), modules_alpha"),
    "set on the network": gather("network = LoRANetwork(model)\n    network.alphas = modules_alpha"),
    "read by a nested function": gather(
        "def scale(name):\n        return modules_alpha[name]\n    return LoRANetwork(model), scale"
    ),
    "options handed through": gather("return LoRANetwork(model, **options)"),
    "a consumer without alpha": gather(parameters="strength=1.0"),
    "a consumer that is not seen": gather("return Network(model)"),
    "dims only": gather(test='"lora_down" in key', value="value.size()[0]"),
}


@pytest.mark.parametrize("name", FIRING)
def test_fires_once(name: str, tmp_path: Path) -> None:
    found = [finding.code for finding in lint_files(tmp_path, {"network.py": FIRING[name]})]
    assert found.count("LS305") == 1


@pytest.mark.parametrize("name", SILENT)
def test_silent(name: str, tmp_path: Path) -> None:
    found = [finding.code for finding in lint_files(tmp_path, {"network.py": SILENT[name]})]
    assert "LS305" not in found
