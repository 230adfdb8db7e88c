"""Turns a KiTS-shaped study into TFRecord shards, one per case and stage: python -m data_prep.

Every stage is one file with `examples(case, config)`, from a NormalizedCase to training examples; all geometry is
kits_tf.ops and kits_tf.cascade's own, so what the nets train on is what they will see.
"""
