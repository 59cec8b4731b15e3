"""What Ray is not trusted with when a cluster is joined."""

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

#: How long to wait for an answer at a cluster's address.
KNOCK_SECONDS = 5.0


#: The client's opening and an empty frame of settings, which every server that speaks
#: HTTP/2, as gRPC does, answers with a frame of type 4 (RFC 9113, 3.4 and 6.5).
OPENING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
SETTINGS_FRAME = 4


def knock(address: str | None) -> None:
    """Raise OSError where no Ray can be: Ray itself would wait for minutes.

    Behind TLS only the connection is tried.
    """
    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    if not (colon and port.isdigit()):
        return
    with socket.create_connection((host, int(port)), KNOCK_SECONDS) as door:
        if os.environ.get("RAY_USE_TLS", "0") == "0":
            door.sendall(OPENING)
            answer = door.recv(4)
            if answer[3:] != bytes([SETTINGS_FRAME]):
                raise OSError("what answers there is not Ray")


@contextmanager
def own_handlers() -> Iterator[None]:
    """Keep our meaning of SIGTERM: Ray installs one of its own."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
