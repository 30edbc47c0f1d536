"""Megatron and NeMo: `adapter.linear_in.weight`; alpha is in the settings of the run, not in the file."""

from __future__ import annotations

from lorascale_lint.adapters.factors import Spelling
from lorascale_lint.adapters.formats.format import Format, spelled
from lorascale_lint.adapters.source import AdapterSource


class Megatron(Format):
    """`linear_in` is A, `linear_out` is B."""

    name = "megatron"

    def recognise(self, source: AdapterSource) -> str | None:
        key = spelled(source, Spelling.IN_OUT)
        return f"names such as `{key}`" if key else None
