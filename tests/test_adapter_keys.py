"""Which adapter keys a function reads, tests and writes."""

from __future__ import annotations

import pytest

from lorascale_lint.model.adapter_keys import key_traffic
from lorascale_lint.model.key_pattern import key_pattern
from lorascale_lint.model.vocabulary import key_role
from tests.projects import model_of, returned


@pytest.mark.parametrize(
    ("expression", "pattern"),
    [
        ("'x.lora_A'", "x.lora_A"),
        ("name + '.lora_A'", "*.lora_A"),
        ("f'{name}.lora_A.{x}.weight'", "*.lora_A.*.weight"),
        ("prefix + name + '.alpha'", "**.alpha"),
        ("name.replace('.weight', '.alpha')", ".alpha"),
        ("name", "*"),
        ("name % 3", "*"),
    ],
)
def test_pattern_of_a_key_expression(expression: str, pattern: str) -> None:
    assert key_pattern(returned(f"def f(name, prefix, x):\n    return {expression}\n")) == pattern


@pytest.mark.parametrize(
    ("key", "role"),
    [
        (".lora_A.weight", "A"),
        (".lora_down.weight", "A"),
        (".lora.down.weight", "A"),
        ("lora_embedding_A", "A"),
        (".hada_w1_a", "A"),
        (".lora_B.default.weight", "B"),
        ("*.lora_up.blocks.*", "B"),
        (".alpha", "alpha"),
        (".lora_alpha", "alpha"),
        (".network_alpha", "alpha"),
        (".alpha_scale", "alpha"),
        pytest.param(
            "alphas_cumprod",
            None,
        ),
        (".weight", None),
        ("lora_A and lora_B", None),
        ("the alpha of a layer", None),
    ],
)
def test_role_of_a_key(key: str, role: str | None) -> None:
    assert key_role(key) == role


@pytest.mark.parametrize(
    ("line", "use"),
    [
        ("x = sd['m.lora_A.weight']", ("read", "A")),
        ("x = sd.get('m.alpha', 1)", ("read", "alpha")),
        ("x = sd.pop('m.alpha')", ("read", "alpha")),
        ("sd['m.lora_B'] = x", ("write", "B")),
        ("x = 'm.alpha' in sd", ("test", "alpha")),
        ("x = key.endswith('.alpha')", ("test", "alpha")),
        ("x = key == 'm.lora_up.weight'", ("test", "B")),
        ("x = 'lora_B' in key", ("test", "B")),
        ("x = [v for k, v in sd.items() if k.endswith('.lora_A')]", ("test", "A")),
        ("sd[name]['m.lora_A'] = x", ("write", "A")),
    ],
)
def test_use_of_a_key(line: str, use: tuple[str, str]) -> None:
    project = model_of(f"def load_lora(sd, key, x, name):\n    {line}\n").project
    found = {(item.how, item.role) for item in key_traffic(project.functions["layer.load_lora"]).uses}
    assert found == {use}


@pytest.mark.parametrize(
    ("call", "reads"),
    [
        ("load_file(path)", True),
        ("safetensors.torch.load_file(path)", True),
        ("torch.load(path)", True),
        ("json.load(path)", False),
        ("load(path)", False),
    ],
)
def test_reading_a_file(call: str, reads: bool) -> None:
    source = f"def load_lora(path):\n    sd = {call}\n    return sd['m.lora_A']\n"
    traffic = key_traffic(model_of(source).project.functions["layer.load_lora"])
    assert bool(traffic.files_read) is reads
