"""Benchmarks of the nets on a GPU, including machines that have XLA (JAX) but no TensorFlow."""
