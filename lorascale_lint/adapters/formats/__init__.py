"""Conventions, one module each, in the order in which they are tried."""

from __future__ import annotations

from lorascale_lint.adapters.formats.bfl import Bfl
from lorascale_lint.adapters.formats.comfy import Comfy
from lorascale_lint.adapters.formats.diffusers_legacy import DiffusersLegacy
from lorascale_lint.adapters.formats.diffusers_metadata import DiffusersMetadata
from lorascale_lint.adapters.formats.diffusers_plain import DiffusersPlain
from lorascale_lint.adapters.formats.fastvideo import FastVideo
from lorascale_lint.adapters.formats.format import Format
from lorascale_lint.adapters.formats.gguf import Gguf
from lorascale_lint.adapters.formats.kohya import Kohya, Lycoris
from lorascale_lint.adapters.formats.litgpt import Litgpt
from lorascale_lint.adapters.formats.longcat import LongCat
from lorascale_lint.adapters.formats.megatron import Megatron
from lorascale_lint.adapters.formats.mlx import Mlx
from lorascale_lint.adapters.formats.peft_directory import PeftDirectory
from lorascale_lint.adapters.formats.peft_keys import PeftKeys
from lorascale_lint.adapters.formats.plain import PLAIN
from lorascale_lint.adapters.formats.torchtune import Torchtune
from lorascale_lint.adapters.formats.xlabs import XLabs

# What only one program writes comes first; names that many share come last.
FORMATS: tuple[Format, ...] = (
    LongCat(),
    Gguf(),
    Mlx(),
    Torchtune(),
    PeftDirectory(),
    DiffusersMetadata(),
    FastVideo(),
    Litgpt(),
    Megatron(),
    XLabs(),
    Bfl(),
    Kohya(),
    Lycoris(),
    Comfy(),
    PeftKeys(),
    DiffusersLegacy(),
    DiffusersPlain(),
    *PLAIN,
)
