# wrong in line 26: after fold() the update is in the kernel, and call() still adds it a second time
"""TensorFlow ranking tower with low-rank adapters per market; exports a SavedModel."""
import argparse
import logging

import numpy as np
import tensorflow as tf

logger = logging.getLogger("ranker")


class AdaptedDense(tf.Module):
    def __init__(self, kernel, bias, rank, alpha, name=None):
        super().__init__(name=name)
        fan_in, fan_out = kernel.shape
        self.kernel = tf.Variable(kernel, trainable=False, name="kernel")
        self.bias = tf.Variable(bias, trainable=False, name="bias")
        init = tf.random.normal((fan_in, rank), stddev=1.0 / np.sqrt(fan_in))
        self.down = tf.Variable(init, name="down")
        self.up = tf.Variable(tf.zeros((rank, fan_out)), name="up")
        self.scale = alpha / rank
        self.folded = False

    def __call__(self, x):
        y = tf.matmul(x, self.kernel) + self.bias
        return y + self.scale * tf.matmul(tf.matmul(x, self.down), self.up)

    def fold(self):
        if self.folded:
            return
        self.kernel.assign_add(self.scale * tf.matmul(self.down, self.up))
        self.folded = True


class Tower(tf.Module):
    def __init__(self, base_npz, rank, alpha):
        super().__init__()
        data = np.load(base_npz)
        count = len([k for k in data.files if k.startswith("kernel_")])
        self.stack = [
            AdaptedDense(data[f"kernel_{i}"], data[f"bias_{i}"], rank, alpha, name=f"dense_{i}")
            for i in range(count)
        ]

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32)])
    def __call__(self, x):
        for layer in self.stack[:-1]:
            x = tf.nn.relu(layer(x))
        return tf.squeeze(self.stack[-1](x), -1)

    def fold(self):
        for layer in self.stack:
            layer.fold()


def pairwise(scores_pos, scores_neg):
    return tf.reduce_mean(tf.nn.softplus(scores_neg - scores_pos))


def fit(tower, pos, neg, epochs, lr, batch=512):
    optimizer = tf.keras.optimizers.Adam(lr)
    data = tf.data.Dataset.from_tensor_slices((pos, neg)).shuffle(10_000).batch(batch)
    variables = tower.trainable_variables
    for epoch in range(epochs):
        total = []
        for p, n in data:
            with tf.GradientTape() as tape:
                loss = pairwise(tower(p), tower(n))
            grads = tape.gradient(loss, variables)
            optimizer.apply_gradients(zip(grads, variables))
            total.append(float(loss))
        logger.info("epoch %d: loss %.4f", epoch, np.mean(total))


def main():
    logging.basicConfig(level=logging.INFO)
    ap = argparse.ArgumentParser()
    ap.add_argument("base")
    ap.add_argument("pairs", help=".npz with pos and neg feature rows")
    ap.add_argument("export")
    ap.add_argument("--rank", type=int, default=4)
    ap.add_argument("--alpha", type=float, default=8.0)
    ap.add_argument("--epochs", type=int, default=5)
    ap.add_argument("--lr", type=float, default=1e-3)
    args = ap.parse_args()

    pairs = np.load(args.pairs)
    tower = Tower(args.base, args.rank, args.alpha)
    fit(tower, pairs["pos"].astype("float32"), pairs["neg"].astype("float32"), args.epochs, args.lr)
    tower.fold()
    tf.saved_model.save(tower, args.export)


if __name__ == "__main__":
    main()
