"""Names of the model itself with nothing before them."""

from __future__ import annotations

from lorascale_lint.adapters.factors import Spelling
from lorascale_lint.adapters.formats.convention import Convention, having, spelled
from lorascale_lint.adapters.source import AdapterSource


class DiffSynth(Convention):
    """`<module>.lora_A.default.weight`: PEFT's layers as they are in memory."""

    name = "diffsynth"
    title = "DiffSynth-Studio"

    def recognise(self, source: AdapterSource) -> str | None:
        key = spelled(source, Spelling.NAMED_A_B)
        return f"names such as `{key}`, with nothing before the module" if key else None


class DownUp(Convention):
    """`<module>.lora_down.weight`: LightX2V and other converters of video models."""

    name = "down-up"
    title = "lora_down and lora_up under the model's own names"

    def recognise(self, source: AdapterSource) -> str | None:
        key = spelled(source, Spelling.DOWN_UP)
        return f"names such as `{key}`" if key else None


class PlainNames(Convention):
    """`<module>.lora_A.weight`, as PEFT's `get_peft_model_state_dict` of an injected model has them."""

    name = "plain"
    title = "lora_A and lora_B under the model's own names"

    def recognise(self, source: AdapterSource) -> str | None:
        key = spelled(source, Spelling.A_B, Spelling.EMBEDDING)
        return f"names such as `{key}`" if key else None


class BareNames(Convention):
    """`<module>.lora_A`, as in Mochi."""

    name = "bare"
    title = "lora_A and lora_B without .weight"

    def recognise(self, source: AdapterSource) -> str | None:
        key = spelled(source, Spelling.BARE_A_B)
        return f"names such as `{key}`" if key else None


class LycorisFactors(Convention):
    """LyCORIS' kinds of factors under the model's own names."""

    name = "lycoris-plain"
    title = "LyCORIS factors under the model's own names"

    def recognise(self, source: AdapterSource) -> str | None:
        key = having(source, "hada_w1_a", "lokr_w1", "lokr_w1_a", "a1", "oft_blocks", "oft_diag", "diff")
        return f"names such as `{key}`" if key else None
