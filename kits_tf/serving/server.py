"""Address and model of a TensorFlow Serving server. Does not import TensorFlow."""

import dataclasses
import ipaddress


@dataclasses.dataclass(frozen=True)
class Server:
    """A TensorFlow Serving server and a model on it; the fields are RemotePredictor's arguments of the same names."""

    address: str
    model: str = "kits"
    version: int | None = None
    deadline_s: float = 600.0
    ca: str | None = None


def is_loopback(host: str) -> bool:
    """Returns whether a name or address is this machine's own, which no other machine and no proxy can reach."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"
