"""DiffSynth-Studio: names of the model, a strength that is called alpha."""

from __future__ import annotations

from lorascale_lint.knowledge.conventions import A_B, BARE_A_B, DOWN_UP, NAMED_A_B
from lorascale_lint.knowledge.kinds import LINEAR
from lorascale_lint.knowledge.layer_names import DOUBLE_BLOCKS
from lorascale_lint.knowledge.reading import Case, Files, Loader, Scales, Skips, Statement, Unsaid

_NAMES = ("base_model.model.", "lora___lorahyphen___", "lycoris_", "transformer.", "unet.", "text_encoder.")
_SKIPPED = Case(
    Files(begin=_NAMES),
    Skips("DiffSynth-Studio lora loaders: names of no layer are skipped; docs/verification"),
)
# Flux has a loader of its own, which converts names.
_FLUX = Case(
    Files(begin=("double_blocks.", "single_blocks.")),
    Unsaid("its loader for Flux converts such names", "DiffSynth-Studio @ fed7b18f utils/lora/flux.py"),
)
_KOHYA_FLUX = Case(
    Files(begin=("lora_",), inside=DOUBLE_BLOCKS),
    Unsaid("its loader for Flux converts such names", "DiffSynth-Studio @ fed7b18f utils/lora/flux.py"),
)
_KOHYA = Case(
    Files(begin=("lora_",), pairs=(DOWN_UP,)),
    Skips("DiffSynth-Studio lora loaders but Flux's: names of no layer are skipped; docs/verification"),
)

_BARE = Case(
    Files(pairs=(BARE_A_B,)),
    Skips("DiffSynth-Studio @ fed7b18f utils/lora/general.py:21-28: a name loses its last part"),
)

DIFFSYNTH_1 = Loader(
    "diffsynth-1",
    "DiffSynth-Studio 1.x",
    "alpha={}",
    (
        _SKIPPED,
        _FLUX,
        _KOHYA_FLUX,
        _KOHYA,
        _BARE,
        Case(
            Files(pairs=(A_B, NAMED_A_B)),
            Scales(
                "DiffSynth-Studio 1.1.9 lora/__init__.py GeneralLoRALoader.load: alpha * up @ down",
                kinds=LINEAR,
            ),
        ),
        Case(
            Files(pairs=(DOWN_UP,)),
            Skips("DiffSynth-Studio 1.1.9 lora/__init__.py get_name_dict: only .lora_B.; docs/verification"),
        ),
    ),
    note="`alpha` (`lora_alpha` of ModelManager) is a strength, neither the rank nor the trained alpha",
)

DIFFSYNTH_2 = Loader(
    "diffsynth-2",
    "DiffSynth-Studio 2.x",
    "alpha={}",
    (
        _SKIPPED,
        _FLUX,
        _KOHYA_FLUX,
        _KOHYA,
        _BARE,
        Case(
            Files(pairs=(A_B, NAMED_A_B, DOWN_UP)),
            Scales(
                "DiffSynth-Studio @ fed7b18f utils/lora/general.py: .alpha since 237d1787, no other key",
                (Statement.ALPHA,),
                kinds=LINEAR,
            ),
        ),
    ),
    note="`alpha` is a strength, neither the rank nor the alpha of the training",
    aliases=("diffsynth",),
)
