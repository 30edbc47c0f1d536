"""The names of the model as ComfyUI has them: `diffusion_model.*`, with or without `.alpha`."""

from __future__ import annotations

from lorascale_lint.adapters.formats.format import Format, beginning
from lorascale_lint.adapters.source import AdapterSource


class Comfy(Format):
    """`diffusion_model.` before A and B in either spelling."""

    name = "comfy"

    def recognise(self, source: AdapterSource) -> str | None:
        key = beginning(source, ["diffusion_model."])
        return f"names such as `{key}`" if key else None
