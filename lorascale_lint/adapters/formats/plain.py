"""Names of the model itself with nothing before them: told apart by how the factors are called."""

from __future__ import annotations

from dataclasses import dataclass

from lorascale_lint.adapters.factors import Spelling
from lorascale_lint.adapters.formats.format import Format, having, spelled
from lorascale_lint.adapters.source import AdapterSource


@dataclass(frozen=True)
class Plain(Format):
    """A convention that is nothing but a spelling, or a set of roles, of the factors."""

    name: str
    spellings: tuple[Spelling, ...] = ()
    roles: tuple[str, ...] = ()
    remark: str = ""

    def recognise(self, source: AdapterSource) -> str | None:
        key = spelled(source, *self.spellings) or having(source, *self.roles)
        return f"names such as `{key}`{self.remark}" if key else None


PLAIN = (
    # PEFT's layers as they are in memory.
    Plain(
        "diffsynth",
        (Spelling.NAMED_A_B,),
        remark=", with nothing before the module",
    ),
    # LightX2V and other converters of video models.
    Plain("down-up", (Spelling.DOWN_UP,)),
    # As PEFT's `get_peft_model_state_dict` of an injected model has them.
    Plain("plain", (Spelling.A_B, Spelling.EMBEDDING)),
    # As in Mochi.
    Plain("bare", (Spelling.BARE_A_B,)),
    Plain(
        "lycoris-plain",
        roles=("hada_w1_a", "lokr_w1", "lokr_w1_a", "a1", "oft_blocks", "oft_diag", "diff"),
    ),
)
