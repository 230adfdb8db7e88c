"""Trains one stage of the cascade, or all five: python train.py --stage=fine (--help lists the flags)."""

from kits_tf.training.__main__ import run

if __name__ == "__main__":
    run()
