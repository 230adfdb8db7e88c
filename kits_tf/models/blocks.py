"""Building blocks shared by both nets. All accept (n, y, x, channels) and (n, z, y, x, channels)."""

import typing
from collections.abc import Sequence

import tensorflow as tf

from kits_tf.models.normalization import BatchNormalization

layers = tf.keras.layers

# Runs are short (the demo has a few hundred steps). With Keras's default of 0.99, the initial statistics would still
# have a weight of one tenth after 230 steps.
BATCH_NORM_MOMENTUM = 0.9


@tf.keras.utils.register_keras_serializable("kits_tf")
class Repeat(tf.keras.layers.Layer):
    """Upsamples by repeating every voxel a whole number of times along each spatial axis (nearest neighbor).

    Replaces Keras's UpSampling3D, which splits the tensor into single planes and joins them again, and UpSampling2D,
    whose gradient is a resize that is not deterministic on GPUs. Stacking and reshaping only moves data, on CPUs and
    GPUs, with and without XLA, and also works for sizes that are known only at call time.

    Args:
        factors: number of repetitions along each spatial axis.
    """

    def __init__(self, factors: Sequence[int], **kwargs: typing.Any) -> None:
        super().__init__(**kwargs)
        self.factors = tuple(int(factor) for factor in factors)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        for axis, factor in enumerate(self.factors, start=1):
            if factor > 1:
                known, asked = inputs.shape, tf.shape(inputs)
                sizes = [asked[i] if known[i] is None else known[i] for i in range(len(known))]
                sizes[axis] = sizes[axis] * factor
                inputs = tf.reshape(tf.stack([inputs] * factor, axis=axis + 1), sizes)
        return inputs

    def get_config(self) -> dict:
        return {**super().get_config(), "factors": self.factors}


@tf.keras.utils.register_keras_serializable("kits_tf")
class CropTo(tf.keras.layers.Layer):
    """Crops a tensor at the far end of each spatial axis to the size of another: [tensor, other] -> tensor."""

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        tensor, other = inputs
        if tensor.shape[1:-1] == other.shape[1:-1] and None not in other.shape[1:-1]:
            return tensor
        return tensor[tuple([slice(None), *(slice(size) for size in tf.unstack(tf.shape(other)[1:-1])), slice(None)])]

    def compute_output_shape(self, input_shape: list) -> tuple:
        tensor, other = input_shape
        return (*other[:-1], tensor[-1])


def convolution(inputs: tf.Tensor, filters: int, kernel: tuple[int, ...], normalization: str, name: str) -> tf.Tensor:
    """Applies convolution, normalization and ReLU; the spatial size does not change.

    Args:
        inputs: (n, spatial axes, channels).
        filters: number of output channels.
        kernel: kernel size, 2 or 3 ints.
        normalization: "batch", "synchronized" (batch norm over the examples of all replicas; on one device the same as
            "batch", but without the fused kernel) or "none".
        name: prefix of the layer names.
    """
    convolve = {2: layers.Conv2D, 3: layers.Conv3D}[len(kernel)]
    normalized = normalization != "none"
    # Batch norm would cancel a bias.
    outputs = convolve(filters, kernel, padding="same", use_bias=not normalized, kernel_initializer="he_normal",
                       name=f"{name}_conv")(inputs)
    if normalized:
        outputs = BatchNormalization(momentum=BATCH_NORM_MOMENTUM, synchronized=normalization == "synchronized",
                                     name=f"{name}_norm")(outputs)
    return layers.ReLU(name=f"{name}_relu")(outputs)


def shrink(inputs: tf.Tensor, factors: tuple[int, ...], name: str) -> tf.Tensor:
    """Applies max pooling by integer factors along the spatial axes; sizes that do not divide are rounded up."""
    pool = {2: layers.MaxPooling2D, 3: layers.MaxPooling3D}[len(factors)]
    return pool(factors, padding="same", name=f"{name}_pool")(inputs)


def grow(inputs: tf.Tensor, filters: int, factors: tuple[int, ...], normalization: str, name: str) -> tf.Tensor:
    """Upsamples: a pointwise convolution to `filters` channels, then repetition of voxels.

    A transposed convolution of the same stride would learn one pointwise map per repeated voxel; with oneDNN it is
    slower, and it causes checkerboard artifacts (Odena et al. 2016). The following 3x3 convolutions smooth the steps.
    The pointwise convolution commutes with the repetition, so it is applied first, on fewer voxels.
    """
    outputs = convolution(inputs, filters, (1,) * len(factors), normalization, name=name)
    return Repeat(factors, name=f"{name}_repeat")(outputs)


@tf.keras.utils.register_keras_serializable("kits_tf")
class FirstChannel(tf.keras.layers.Layer):
    """Selects the first channel."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        return inputs[..., :1]

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (*input_shape[:-1], 1)


def head(inputs: tf.Tensor, outputs: int = 1) -> tf.Tensor:
    """Appends the layers for logits and probabilities, both float32 with any dtype policy.

    Args:
        inputs: (n, spatial axes, channels).
        outputs: number of logits channels.

    Returns:
        The output of layer "probabilities", with one channel: the sigmoid of the first logits channel.
    """
    rank = len(inputs.shape) - 2
    convolve = {2: layers.Conv2D, 3: layers.Conv3D}[rank]
    logits = convolve(outputs, (1,) * rank, dtype="float32", name="logits")(inputs)
    if outputs > 1:
        logits = FirstChannel(dtype="float32", name="first")(logits)
    return layers.Activation("sigmoid", dtype="float32", name="probabilities")(logits)
