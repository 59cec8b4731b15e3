"""What Ray is not trusted with when a cluster is joined."""

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

#: How long to wait for an answer at a cluster's address.
KNOCK_SECONDS = 5.0


def knock(address: str | None) -> None:
    """Raise OSError where nobody listens: Ray itself would wait for minutes."""
    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    if colon and port.isdigit():
        socket.create_connection((host, int(port)), KNOCK_SECONDS).close()


@contextmanager
def own_handlers() -> Iterator[None]:
    """Keep our meaning of SIGTERM: Ray installs one of its own."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
