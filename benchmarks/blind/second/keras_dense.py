# wrong in line 12: inverted: rank / alpha instead of alpha / rank
import keras
from keras import ops


class LoraDense(keras.layers.Layer):
    def __init__(self, original, rank=8, alpha=32, trainable=True, **kwargs):
        kwargs.setdefault("name", original.name + "_lora")
        super().__init__(trainable=trainable, **kwargs)
        self.rank = rank
        self.alpha = alpha
        self._factor = rank / alpha
        self.original = original
        self.original.trainable = False
        self.down = keras.layers.Dense(
            rank, use_bias=False, kernel_initializer="he_uniform", name="lora_A"
        )
        self.up = keras.layers.Dense(
            original.units, use_bias=False, kernel_initializer="zeros", name="lora_B"
        )

    def call(self, inputs):
        update = self.up(self.down(inputs)) * self._factor
        return self.original(inputs) + update

    def merged_kernel(self):
        extra = ops.matmul(self.down.kernel, self.up.kernel)
        return self.original.kernel + self._factor * extra


def convert(model, rank, alpha):
    def clone(layer):
        if isinstance(layer, keras.layers.Dense) and "attention" in layer.path:
            return LoraDense(layer, rank=rank, alpha=alpha)
        return layer

    return keras.models.clone_model(model, clone_function=clone)
