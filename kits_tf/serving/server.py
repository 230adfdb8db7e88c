"""Address and model of a TensorFlow Serving server. Does not import TensorFlow."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Server:
    """A TensorFlow Serving server and a model on it; the fields are RemotePredictor's arguments of the same names."""

    address: str
    model: str = "kits"
    version: int | None = None
    deadline_s: float = 600.0
    ca: str | None = None
