"""The address of a TensorFlow Serving and what to ask it for, without TensorFlow."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Server:
    """Where a TensorFlow Serving is and what to ask it for; the fields are RemotePredictor's arguments."""

    address: str
    model: str = "kits"
    version: int | None = None
    deadline_s: float = 600.0
    ca: str | None = None
