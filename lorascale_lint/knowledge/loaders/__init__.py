"""What well-known loaders do with the alpha of a file: one module for each program, one list of all."""

from __future__ import annotations

from lorascale_lint.knowledge.loaders.comfyui import COMFYUI
from lorascale_lint.knowledge.loaders.diffsynth import DIFFSYNTH_1, DIFFSYNTH_2
from lorascale_lint.knowledge.loaders.diffusers import DIFFUSERS
from lorascale_lint.knowledge.loaders.diffusers_flux import DIFFUSERS_FLUX, DIFFUSERS_FLUX2
from lorascale_lint.knowledge.loaders.diffusers_qwen import DIFFUSERS_QWEN
from lorascale_lint.knowledge.loaders.diffusers_wan import DIFFUSERS_WAN
from lorascale_lint.knowledge.loaders.fastvideo import FASTVIDEO_016, FASTVIDEO_017, FASTVIDEO_021
from lorascale_lint.knowledge.loaders.invokeai import INVOKEAI
from lorascale_lint.knowledge.loaders.kohya import MUSUBI, SD_SCRIPTS
from lorascale_lint.knowledge.loaders.language_models import LITGPT, LLAMA_CPP, LMDEPLOY, MLX_LM, SGLANG, VLLM
from lorascale_lint.knowledge.loaders.lightx2v import LIGHTX2V
from lorascale_lint.knowledge.loaders.longcat import LONGCAT
from lorascale_lint.knowledge.loaders.lycoris import LYCORIS
from lorascale_lint.knowledge.loaders.nunchaku import NUNCHAKU
from lorascale_lint.knowledge.loaders.peft import PEFT
from lorascale_lint.knowledge.loaders.sglang_diffusion import SGLANG_DIFFUSION
from lorascale_lint.knowledge.loaders.videox_fun import VIDEOX_FUN
from lorascale_lint.knowledge.loaders.vllm_omni import VLLM_OMNI
from lorascale_lint.knowledge.loaders.webui import A1111, FORGE
from lorascale_lint.knowledge.loaders.x_flux import X_FLUX
from lorascale_lint.knowledge.reading import Loader

LOADERS: tuple[Loader, ...] = (
    DIFFSYNTH_1, DIFFSYNTH_2, FASTVIDEO_016, FASTVIDEO_017, FASTVIDEO_021, COMFYUI, A1111, FORGE,
    DIFFUSERS, DIFFUSERS_FLUX, DIFFUSERS_FLUX2, DIFFUSERS_QWEN, DIFFUSERS_WAN,
    SD_SCRIPTS, MUSUBI, LYCORIS, INVOKEAI, PEFT, VLLM, SGLANG, LMDEPLOY, LLAMA_CPP,
    SGLANG_DIFFUSION, VLLM_OMNI, LONGCAT, LIGHTX2V, VIDEOX_FUN, X_FLUX, NUNCHAKU, MLX_LM, LITGPT,
)  # fmt: skip


def loader_named(name: str) -> Loader | None:
    """The loader with this key or alias."""
    wanted = name.lower()
    return next((item for item in LOADERS if wanted == item.key or wanted in item.aliases), None)
