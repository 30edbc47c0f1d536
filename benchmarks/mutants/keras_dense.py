from keras import layers, ops


class LoRADense(layers.Layer):
    def __init__(self, units, lora_rank=None, lora_alpha=None, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.lora_rank = lora_rank
        self.lora_alpha = lora_alpha if lora_alpha is not None else lora_rank

    def enable_lora(self, rank, lora_alpha=None):
        self.lora_kernel_a = self.add_weight(name="lora_kernel_a", shape=(self.input_dim, rank))
        self.lora_kernel_b = self.add_weight(name="lora_kernel_b", shape=(rank, self.units))
        self.lora_rank = rank
        self.lora_alpha = lora_alpha if lora_alpha is not None else rank

    @property
    def kernel(self):
        if self.lora_enabled:
            return self._kernel + (self.lora_alpha / self.lora_rank) * ops.matmul(
                self.lora_kernel_a, self.lora_kernel_b
            )
        return self._kernel

    def quantized_call(self, inputs):
        x = ops.matmul(inputs, self._kernel)
        if self.lora_enabled:
            lora_x = ops.matmul(inputs, self.lora_kernel_a)
            lora_x = ops.matmul(lora_x, self.lora_kernel_b)
            x = ops.add(x, (self.lora_alpha / self.lora_rank) * lora_x)
        return x
