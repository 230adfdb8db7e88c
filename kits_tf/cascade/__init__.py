"""Chains the five nets inside TensorFlow: takes Hounsfield units and spacing, returns labels and a report.

`export_cascade(nets, directory, config)` writes the cascade as one SavedModel. This package never imports training.
"""

from kits_tf import lazy

__getattr__ = lazy.attach(__name__, export_cascade="kits_tf.cascade.export")
