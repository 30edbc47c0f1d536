"""What is known of libraries, beside the libraries themselves."""

from __future__ import annotations

from dataclasses import fields

import pytest

from lorascale_lint.knowledge.interfaces import ADAPTER_FIELDS, DEFAULT_ALPHA

peft = pytest.importorskip("peft")


def test_alpha_is_what_peft_takes_where_nobody_gives_it() -> None:
    assert peft.LoraConfig().lora_alpha == DEFAULT_ALPHA


def test_fields_of_an_adapter_are_those_of_peft() -> None:
    assert {item.name for item in fields(peft.LoraConfig)} >= ADAPTER_FIELDS
