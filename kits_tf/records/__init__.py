"""Training examples on disk: their TFRecord schema, the prepared folder with its folds, and checks of its shards."""
