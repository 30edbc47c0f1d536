# wrong in line 36: get_config leaves out alpha, a saved and reloaded layer is built with the default alpha
"""Keras layer: frozen Dense plus LoRA branch."""
import keras
from keras import ops


@keras.saving.register_keras_serializable(package="tuning")
class LoraDense(keras.layers.Layer):
    def __init__(self, units, rank=4, alpha=4.0, activation=None, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.rank = rank
        self.alpha = alpha
        self.activation = keras.activations.get(activation)
        self.gain = alpha / rank

    def build(self, input_shape):
        dim = input_shape[-1]
        self.kernel = self.add_weight(name="kernel", shape=(dim, self.units), trainable=False)
        self.bias = self.add_weight(name="bias", shape=(self.units,), initializer="zeros", trainable=False)
        self.down = self.add_weight(name="down", shape=(dim, self.rank), initializer="he_uniform")
        self.up = self.add_weight(name="up", shape=(self.rank, self.units), initializer="zeros")
        self.built = True

    def call(self, x):
        y = ops.matmul(x, self.kernel) + self.bias
        y = y + self.gain * ops.matmul(ops.matmul(x, self.down), self.up)
        return self.activation(y)

    def fold(self):
        self.kernel.assign_add(self.gain * ops.matmul(self.down, self.up))
        self.up.assign(ops.zeros_like(self.up))

    def get_config(self):
        config = super().get_config()
        config.update({
            "units": self.units,
            "rank": self.rank,
            "activation": keras.activations.serialize(self.activation),
        })
        return config


def finetune(model, data, path, epochs=3, lr=1e-4):
    model.compile(optimizer=keras.optimizers.Adam(lr), loss="mse")
    model.fit(data, epochs=epochs)
    model.save(path)
    return path


def serve(path):
    return keras.saving.load_model(path)
