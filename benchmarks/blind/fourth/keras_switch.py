# silent: exactly one of the two paths carries the update: merged kernel without the branch, or plain kernel with it; unmerge subtracts what merge added
"""Switchable LoRA for tf.keras Dense layers (A/B tests of recommendation towers)."""
import argparse

import numpy as np
import tensorflow as tf


class LoraDense(tf.keras.layers.Dense):
    def __init__(self, units, r=4, lora_alpha=16, **kwargs):
        super().__init__(units, **kwargs)
        self.r = r
        self.lora_alpha = lora_alpha
        self._merged = False
        self._added = None

    def build(self, input_shape):
        super().build(input_shape)
        self.lora_a = self.add_weight(
            name="lora_a", shape=(int(input_shape[-1]), self.r), initializer="he_uniform"
        )
        self.lora_b = self.add_weight(name="lora_b", shape=(self.r, self.units), initializer="zeros")

    def call(self, inputs):
        x = tf.matmul(inputs, self.kernel)
        if not self._merged:
            down = tf.matmul(inputs, self.lora_a)
            x = x + tf.matmul(down, self.lora_b) * self.lora_alpha / self.r
        if self.use_bias:
            x = x + self.bias
        return self.activation(x) if self.activation is not None else x

    def merge(self):
        if self._merged:
            return
        added = tf.matmul(self.lora_a, self.lora_b) * self.lora_alpha / self.r
        self.kernel.assign_add(added)
        self._added = added
        self._merged = True

    def unmerge(self):
        if not self._merged:
            return
        self.kernel.assign_sub(self._added)
        self._added = None
        self._merged = False

    def get_config(self):
        return {**super().get_config(), "r": self.r, "lora_alpha": self.lora_alpha}


def tower(dim, r, lora_alpha):
    inputs = tf.keras.Input((dim,))
    x = LoraDense(256, r, lora_alpha, activation="relu", name="d0")(inputs)
    x = LoraDense(64, r, lora_alpha, activation="relu", name="d1")(x)
    return tf.keras.Model(inputs, LoraDense(1, r, lora_alpha, name="score")(x))


def lora_layers(model):
    return [l for l in model.layers if isinstance(l, LoraDense)]


def freeze_base(model):
    """Train the factors only (the kernels get no gradient step)."""
    return [v for l in lora_layers(model) for v in (l.lora_a, l.lora_b)]


def fit(model, x, y, epochs, batch=256):
    variables = freeze_base(model)
    optimizer = tf.keras.optimizers.Adam(1e-3)
    data = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(4096).batch(batch)
    for epoch in range(epochs):
        for xb, yb in data:
            with tf.GradientTape() as tape:
                logits = tf.squeeze(model(xb, training=True), -1)
                loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(yb, logits))
            optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))
        print(f"epoch {epoch}: {float(loss):.4f}")


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("data")
    ap.add_argument("base", help="weights of the tower, .npz by layer name")
    ap.add_argument("--r", type=int, default=4)
    ap.add_argument("--lora_alpha", type=float, default=16)
    args = ap.parse_args()
    data, base = np.load(args.data), np.load(args.base)
    x, y = data["x"].astype("float32"), data["y"].astype("float32")
    model = tower(x.shape[1], args.r, args.lora_alpha)
    for layer in lora_layers(model):
        layer.kernel.assign(base[f"{layer.name}_kernel"])
        layer.bias.assign(base[f"{layer.name}_bias"])
    fit(model, x, y, 3)
    before = model(x[:256]).numpy()
    for layer in lora_layers(model):
        layer.merge()
    np.testing.assert_allclose(model(x[:256]).numpy(), before, rtol=1e-3, atol=1e-4)
    arrays = {}
    for layer in lora_layers(model):
        arrays[f"{layer.name}_kernel"] = layer.kernel.numpy()
        arrays[f"{layer.name}_bias"] = layer.bias.numpy()
    np.savez("tower_merged.npz", **arrays)


if __name__ == "__main__":
    main()
