"""Workers without PyTorch: what they reply is written in their tree."""

import json
import math
import random
from collections.abc import Mapping
from typing import Any

from resnet_bench.gate.workers import Launch, Start, WorkerError, spawn

NOISE = random.Random(0)

VERSIONS = {"Python": "3.12.1", "PyTorch": "2.14.1"}


def pace(subject: Mapping[str, Any], name: str, method: str) -> dict[str, Any]:
    if name == "control":
        return {"seconds": 1e-4 * subject.get("control", 1.0), "stopped": 0}
    seconds = subject["seconds"][f"{name}:{method}"]
    seconds *= math.exp(subject.get("noise", 0.01) * NOISE.random())
    return {"seconds": seconds, "stopped": subject.get("stopped", 0)}


def reply_to(subject: Mapping[str, Any], do: str, **arguments: Any) -> dict[str, Any]:
    if do == "open":
        offer: dict[str, Any] = {"api": 1, "inside": True, "borrowed": None}
        return {**offer, "cases": [], **subject.get("open", {})}
    if do == "libraries":
        return {"libraries": ["torch"]}
    if do == "versions":
        return {**VERSIONS, **subject.get("versions", {})}
    name = arguments["name"]
    if do in ("prepare", "leg"):
        return pace(subject, name, arguments["method"])
    if do == "exact":
        made = {
            "parameters": 10,
            "flops": 20,
            "forward_operations": 3,
            "backward_operations": 4,
            "state_dict_keys": "k",
            "output_checksum": "c",
        }
        return {**made, **subject["exact"][name]}
    accuracy = subject["accuracy"][name][arguments["seed"]]
    return {"accuracy": accuracy, "fingerprint": str(accuracy)}


class FakeWorker:
    """Stands for a WorkerProcess, in this process.

    What is different under another Python is under `elsewhere`.
    """

    def __init__(self, launch: Launch, start: Start = spawn) -> None:
        self.subject = json.loads((launch.tree / "subject.json").read_text())
        if launch.python:
            self.subject |= self.subject.get("elsewhere", {})
        self.reply: dict[str, Any] | None = None
        self.error = ""

    def __enter__(self) -> "FakeWorker":
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def send(self, do: str, **arguments: Any) -> None:
        try:
            self.reply = reply_to(self.subject, do, **arguments)
        except KeyError as error:
            self.reply, self.error = None, f"KeyError: {error}"
        if self.subject.get("dies_at") == do:
            words = self.subject.get("last_words", "killed for the test")
            self.reply, self.error = None, words

    def receive(self) -> dict[str, Any]:
        if self.reply is None:
            raise WorkerError(self.error)
        return self.reply

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        self.send(do, **arguments)
        return self.receive()
