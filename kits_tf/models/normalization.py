"""Batch normalization with TensorFlow's fused 2D kernel, for Keras 2 and Keras 3."""

import tensorflow as tf


@tf.keras.utils.register_keras_serializable("kits_tf")
class BatchNormalization(tf.keras.layers.BatchNormalization):
    """Keras's layer for (n, y, x, channels) and (n, z, y, x, channels), computed by one fused kernel.

    Keras 3 needs a dozen passes over the tensor, and only TensorFlow's 2D kernel is fast on CPUs
    (benchmarks/README.md). Therefore the planes along z are moved to the batch axis, which does not change the
    statistics. The class has the name of Keras's layer, because weight files contain it.

    With `synchronized` the statistics are those of all replicas. No fused kernel supports this, so Keras computes it.
    """

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        if self.synchronized:
            return super().call(inputs, training=training)
        learns = bool(training) and self.trainable
        gamma, beta, mean, variance = (tf.cast(weight, tf.float32) for weight in
                                       (self.gamma, self.beta, self.moving_mean, self.moving_variance))
        sizes = tf.shape(inputs)
        planes = tf.reshape(inputs, [-1, sizes[-3], sizes[-2], inputs.shape[-1]])
        outputs, seen_mean, seen_variance = tf.compat.v1.nn.fused_batch_norm(
            planes, gamma, beta, *(() if learns else (mean, variance)), epsilon=self.epsilon, is_training=learns)
        if learns:
            for weight, old, seen in ((self.moving_mean, mean, seen_mean),
                                      (self.moving_variance, variance, seen_variance)):
                weight.assign(old * self.momentum + seen * (1.0 - self.momentum))
        return tf.ensure_shape(tf.reshape(outputs, sizes), inputs.shape)
