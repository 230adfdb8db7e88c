"""Segments CT scans: python predict.py --model=DIR --input=FILE --output=DIR (--help lists the flags)."""

from kits_tf.serving.__main__ import run

if __name__ == "__main__":
    run()
