class LoRALinear:
    def __init__(self, base_layer, lora_rank=None, lora_alpha=None):
        self.base_layer = base_layer
        self.lora_rank = lora_rank
        self.lora_alpha = lora_alpha
        self.lora_A = None
        self.lora_B = None

    @property
    def scale(self):
        if self.lora_alpha is None:
            return 1.0
        return self.lora_alpha / self.lora_rank

    def set_lora_weights(self, lora_A, lora_B, lora_alpha=None):
        self.lora_A = lora_A
        self.lora_B = lora_B
        self.lora_rank = lora_A.shape[0]
        self.lora_alpha = lora_alpha

    def forward(self, x):
        return self.base_layer(x) + (x @ self.lora_A.T @ self.lora_B.T) * self.scale

    def merge(self):
        self.base_layer.weight.data += self.scale * (self.lora_B @ self.lora_A)


def load_adapter(layers, state_dict):
    for name, layer in layers.items():
        alpha = state_dict.get(f"{name}.alpha")
        layer.set_lora_weights(
            state_dict[f"{name}.lora_A.weight"],
            state_dict[f"{name}.lora_B.weight"],
            lora_alpha=None if alpha is None else float(alpha),
        )
