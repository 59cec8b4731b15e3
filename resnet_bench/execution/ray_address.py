"""What Ray is not trusted with when a cluster is joined."""

import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: How long to wait for an answer at a cluster's address.
KNOCK_SECONDS = 5.0


#: The client's opening and an empty frame of settings, which every server that speaks
#: HTTP/2, as gRPC does, answers with a frame of type 4 (RFC 9113, 3.4 and 6.5).
OPENING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
SETTINGS_FRAME = 4


def located(address: str | None, resolve: Callable[[str], str | None]) -> str:
    """Return what Ray is to be given: without an address, a Ray of our own.

    `auto` is resolved by Ray's own way, `resolve`, so that its cluster can be knocked
    at: a name that a cluster left behind is not waited for. Raises ConnectionError
    where none runs.
    """
    if address is None:
        return "local"
    if address != "auto":
        return address
    return os.environ.get("RAY_ADDRESS") or resolve(address) or address


def knock(address: str) -> None:
    """Raise OSError where no Ray can be: Ray itself would wait for minutes.

    Behind TLS only the connection is tried.
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not (colon and port.isdigit()):
        return
    with socket.create_connection((host, int(port)), KNOCK_SECONDS) as door:
        if os.environ.get("RAY_USE_TLS", "0") == "0":
            door.sendall(OPENING)
            with door.makefile("rb") as answers:
                answer = answers.read(4)
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
