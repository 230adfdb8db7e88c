"""The five nets chained inside TensorFlow: Hounsfield units and spacing in, labels and a report out.

`export_cascade(nets, directory, config)` writes the whole as one SavedModel. Never imports training.
"""

from kits_tf import lazy

__getattr__ = lazy.attach(__name__, export_cascade="kits_tf.cascade.export")
