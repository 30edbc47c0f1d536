# wrong in line 33: the joined adapter of rank r1 + r2 gets the alpha of the first one and divides it by the sum
from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class LoraPair:
    a: Tensor  # (r, in)
    b: Tensor  # (out, r)
    alpha: float

    @property
    def r(self) -> int:
        return self.a.shape[0]

    def dense(self) -> Tensor:
        return (self.alpha / self.r) * self.b @ self.a

    def __mul__(self, weight: float) -> LoraPair:
        return LoraPair(self.a, self.b * weight, self.alpha)

    __rmul__ = __mul__

    def __add__(self, other: LoraPair) -> LoraPair:
        if self.a.shape[1] != other.a.shape[1] or self.b.shape[0] != other.b.shape[0]:
            raise ValueError("shapes do not fit")
        a = torch.cat((self.a, other.a), dim=0)
        b = torch.cat((self.b, other.b), dim=1)
        return LoraPair(a, b, self.alpha)


class Bundle(dict):
    """module name -> LoraPair"""

    @classmethod
    def parse(cls, sd, alpha):
        made = cls()
        for key, val in sd.items():
            if key.endswith(".a"):
                stem = key[:-2]
                made[stem] = LoraPair(val.float(), sd[stem + ".b"].float(), alpha)
        return made

    def combined(self, other, w_self, w_other):
        out = Bundle()
        for name in self.keys() | other.keys():
            if name not in other:
                out[name] = w_self * self[name]
            elif name not in self:
                out[name] = w_other * other[name]
            else:
                out[name] = w_self * self[name] + w_other * other[name]
        return out


def blend(first, second, mix):
    return first.combined(second, 1.0 - mix, mix)
