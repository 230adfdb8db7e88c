"""The model that ships with the package, as an export of the whole cascade.

    kits_tf/weights/<version>/saved_model.pb  variables/  assets/
    kits_tf/weights/MODEL_CARD.md             what it was trained on, scores, limits

`make release` makes it again.
"""

import pathlib

from kits_tf.errors import InputError
from kits_tf.files import exports

FOLDER = pathlib.Path(__file__).parent


def shipped_model() -> pathlib.Path:
    """Returns the version folder of the model that ships.

    Raises:
        InputError: if this installation has none.
    """
    if not exports.versions(FOLDER):
        raise InputError("no model ships with this installation of kits_tf; name one with --model=DIR")
    return exports.find_export(FOLDER)
