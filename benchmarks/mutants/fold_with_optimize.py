class LoRALayerWeights:
    def __init__(self, module_name, rank, lora_alpha, lora_a, lora_b, scaling=None):
        self.module_name = module_name
        self.rank = rank
        self.lora_alpha = lora_alpha
        self.lora_a = lora_a
        self.lora_b = lora_b
        if scaling is None:
            self.scaling = self.lora_alpha / self.rank
        else:
            self.scaling = scaling

    def optimize(self):
        if self.scaling == 1:
            return self
        self.lora_b *= self.scaling
        self.scaling = 1
        return self


class LoRALinear:
    def set_lora(self, index, lora):
        self.lora_a_stacked[index].copy_(lora.lora_a)
        self.lora_b_stacked[index].copy_(lora.lora_b)

    def apply(self, x, index):
        return self.base_layer(x) + x @ self.lora_a_stacked[index].T @ self.lora_b_stacked[index].T
