"""What the nets do on a GPU, also on a machine that has XLA but no TensorFlow."""
