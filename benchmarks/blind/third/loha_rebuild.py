# wrong in line 18: the LoHa rank is taken from the first dimension of hada_w1_a, which is the output width
import torch


class LohaWeights:
    suffixes = ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")

    def __init__(self, name, state):
        self.name = name
        self.w1_a, self.w1_b, self.w2_a, self.w2_b = (
            state[f"{name}.{s}"].float() for s in self.suffixes
        )
        alpha = state.get(f"{name}.alpha")
        self.alpha = None if alpha is None else float(alpha)

    @property
    def rank(self):
        return self.w1_a.shape[0]

    @property
    def scale(self):
        return 1.0 if self.alpha is None else self.alpha / self.rank

    def diff(self, shape):
        w = (self.w1_a @ self.w1_b) * (self.w2_a @ self.w2_b)
        return w.reshape(shape) * self.scale


def find_names(state):
    return sorted(k.rsplit(".", 1)[0] for k in state if k.endswith(".hada_w1_a"))


def merge_loha(model_state, loha_state, key_map, strength=1.0):
    for name in find_names(loha_state):
        target = key_map.get(name)
        if target is None:
            print("no target for", name)
            continue
        w = model_state[target]
        diff = LohaWeights(name, loha_state).diff(w.shape)
        model_state[target] = (w.float() + strength * diff).to(w.dtype)
    return model_state
