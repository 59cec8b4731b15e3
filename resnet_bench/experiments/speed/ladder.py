"""The steps from plain float32 to the fastest setting, in their order."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Rung:
    """One step of the ladder: everything that is set when it is reached.

    `adds` says in words what is new. With `needs_cuda` the step exists on CUDA only.
    """

    name: str
    adds: str
    channels_last: bool = True
    dtype: str = "float32"
    amp: bool = False
    tf32: bool = False
    compiled: bool = False
    cuda_graphs: bool = False
    needs_cuda: bool = False


#: Each step keeps what helped before it. Autocast, bfloat16 and float16 are three
#: ways of one step: each is set against channels-last alone as well as against the
#: start.
LADDER = (
    Rung("eager", "float32, NCHW, operator by operator", channels_last=False),
    Rung("channels-last", "NHWC memory order"),
    Rung("tf32", "TF32 products", tf32=True, needs_cuda=True),
    Rung("amp", "autocast to bfloat16", dtype="bfloat16", amp=True),
    Rung("float16", "float16 throughout", dtype="float16", needs_cuda=True),
    Rung("bfloat16", "bfloat16 throughout", dtype="bfloat16"),
    Rung("compiled", "torch.compile", dtype="bfloat16", compiled=True),
    Rung(
        "cuda-graphs",
        "replayed as CUDA graphs",
        dtype="bfloat16",
        compiled=True,
        cuda_graphs=True,
        needs_cuda=True,
    ),
)
RUNGS = {rung.name: rung for rung in LADDER}


def options_of(rung: Rung) -> str:
    """Return the options that reproduce a step without the ladder."""
    switches = {
        "--channels-last": rung.channels_last,
        "--amp": rung.amp,
        "--tf32": rung.tf32,
        "--compile": rung.compiled,
        "--cuda-graphs": rung.cuda_graphs,
    }
    dtype = [] if rung.dtype == "float32" else [f"--dtype {rung.dtype}"]
    return " ".join([*dtype, *(name for name, given in switches.items() if given)])
