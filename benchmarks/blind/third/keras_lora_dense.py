# wrong in line 39: merge_weights adds A @ B without alpha / rank although call() scales it
import keras
from keras import ops


class LoraDense(keras.layers.Layer):
    def __init__(self, original, rank=8, alpha=32, trainable=True, **kwargs):
        config = original.get_config()
        kwargs.setdefault("name", config["name"] + "_lora")
        super().__init__(trainable=trainable, **kwargs)
        self.rank = rank
        self.alpha = alpha
        self._scale = alpha / rank
        self.original = original
        self.original.trainable = False
        self.merged = False

    def build(self, input_shape):
        if not self.original.built:
            self.original.build(input_shape)
        self.lora_a = self.add_weight(
            name="lora_a", shape=(input_shape[-1], self.rank),
            initializer=keras.initializers.VarianceScaling(scale=1 / 3, mode="fan_in"),
        )
        self.lora_b = self.add_weight(
            name="lora_b", shape=(self.rank, self.original.units), initializer="zeros",
        )
        self.built = True

    def call(self, inputs):
        out = self.original(inputs)
        if not self.merged:
            update = ops.matmul(ops.matmul(inputs, self.lora_a), self.lora_b)
            out = out + update * self._scale
        return out

    def merge_weights(self):
        update = ops.matmul(self.lora_a, self.lora_b)
        self.original.kernel.assign_add(update)
        self.lora_b.assign(ops.zeros_like(self.lora_b))
        self.merged = True

    def get_config(self):
        config = super().get_config()
        config.update({
            "rank": self.rank,
            "alpha": self.alpha,
            "original": keras.saving.serialize_keras_object(self.original),
        })
        return config
