# silent: alpha=None means alpha = rank, and kernel uses the same factor on each path
import keras
from keras import ops


@keras.saving.register_keras_serializable("adapters")
class AdaptedDense(keras.layers.Dense):
    def __init__(self, units, adapter_rank=None, adapter_alpha=None, **kwargs):
        super().__init__(units, **kwargs)
        self.adapter_rank = adapter_rank
        self.adapter_alpha = adapter_alpha if adapter_alpha is not None else adapter_rank

    def build(self, input_shape):
        super().build(input_shape)
        if self.adapter_rank:
            self.down = self.add_weight(
                name="down", shape=(input_shape[-1], self.adapter_rank),
                initializer="he_uniform")
            self.up = self.add_weight(
                name="up", shape=(self.adapter_rank, self.units), initializer="zeros")

    def effective_kernel(self):
        if not self.adapter_rank:
            return self._kernel
        factor = self.adapter_alpha / self.adapter_rank
        return self._kernel + factor * ops.matmul(self.down, self.up)

    def call(self, inputs):
        x = ops.matmul(inputs, self.effective_kernel())
        if self.bias is not None:
            x = ops.add(x, self.bias)
        return self.activation(x) if self.activation is not None else x

    def get_config(self):
        config = super().get_config()
        config["adapter_rank"] = self.adapter_rank
        config["adapter_alpha"] = self.adapter_alpha
        return config
