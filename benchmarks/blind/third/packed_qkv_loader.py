# wrong in line 31: a packed qkv layer multiplies all three B parts by the scaling of the first projection only
import torch


class LoRAWeights:
    def __init__(self, module_name, rank, alpha, lora_a, lora_b):
        self.module_name = module_name
        self.rank = rank
        self.lora_alpha = alpha
        self.lora_a = lora_a
        self.lora_b = lora_b
        self.scaling = alpha / rank


class PackedLoRAWeights:
    def __init__(self, module_name, ranks, lora_a, lora_b, scalings):
        self.module_name = module_name
        self.ranks = ranks
        self.lora_a = lora_a
        self.lora_b = lora_b
        self.scalings = scalings

    @classmethod
    def pack(cls, module_name, parts):
        first = next(p for p in parts if p is not None)
        return cls(
            module_name,
            [p.rank if p is not None else None for p in parts],
            [p.lora_a if p is not None else None for p in parts],
            [p.lora_b if p is not None else None for p in parts],
            [first.scaling if p is not None else None for p in parts],
        )

    def optimize(self):
        for i, b in enumerate(self.lora_b):
            if b is None:
                continue
            self.lora_b[i] = b * self.scalings[i]
            self.scalings[i] = 1.0
        return self


def load_qkv(state, prefix, ranks, alphas):
    parts = []
    for proj in ("q_proj", "k_proj", "v_proj"):
        key = f"{prefix}.{proj}"
        if f"{key}.lora_A.weight" not in state:
            parts.append(None)
            continue
        parts.append(LoRAWeights(key, ranks[proj], alphas[proj],
                                 state[f"{key}.lora_A.weight"],
                                 state[f"{key}.lora_B.weight"]))
    return PackedLoRAWeights.pack(f"{prefix}.qkv_proj", parts).optimize()
