"""Batch normalization by TensorFlow's own kernel for planes, on both Keras."""

import tensorflow as tf


@tf.keras.utils.register_keras_serializable("kits_tf")
class BatchNormalization(tf.keras.layers.BatchNormalization):
    """Keras's layer for (n, y, x, channels) and (n, z, y, x, channels), computed in one kernel.

    Keras 3 makes it of a dozen passes over the tensor, and of TensorFlow's kernels only the one for planes is fast on
    CPUs (benchmarks/README.md). So planes along z go in as more planes of the batch: the statistics are of all anyway.
    The name is Keras's, since weight files hold it.

    With `synchronized` the statistics are those of all replicas, which no kernel knows: that is left to Keras.
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
