# wrong in line 25: save merges kernel without scale
import keras
from keras import ops


class LoraDense(keras.layers.Layer):
    def __init__(self, inner, rank=8, alpha=32.0, **kw):
        super().__init__(**kw)
        self.inner = inner
        self.rank = rank
        self.alpha = alpha
        self.scaling = alpha / rank

    def build(self, shape):
        self.lora_a = self.add_weight(name="lora_a", shape=(shape[-1], self.rank))
        self.lora_b = self.add_weight(name="lora_b", shape=(self.rank, self.inner.units), initializer="zeros")
        self.built = True

    def call(self, x):
        y = self.inner(x)
        return y + ops.matmul(ops.matmul(x, self.lora_a), self.lora_b) * self.scaling

    def merge_weights(self):
        delta = ops.matmul(self.lora_a, self.lora_b)
        self.inner.kernel.assign(self.inner.kernel + delta)
