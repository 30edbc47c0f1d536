"""The names of the model as ComfyUI has them: `diffusion_model.*`, with or without `.alpha`."""

from __future__ import annotations

from lorascale_lint.adapters.formats.convention import Convention, beginning
from lorascale_lint.adapters.source import AdapterSource


class Comfy(Convention):
    """`diffusion_model.` before A and B in either spelling."""

    name = "comfy"
    title = "ComfyUI style"

    def recognise(self, source: AdapterSource) -> str | None:
        key = beginning(source, ["diffusion_model."])
        return f"names such as `{key}`" if key else None
