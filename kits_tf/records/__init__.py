"""Training examples on disk: TFRecord schema, layout and folds of a prepared folder, integrity of its shards."""
