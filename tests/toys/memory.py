"""What a program notices of how the C library hands out memory."""

import resource

import torch

NUMBERS = 2**24


def faults_of_asking_again() -> int:
    """Fill 64 MiB, let go of them, and count the page faults of filling as many."""
    torch.ones(NUMBERS)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(NUMBERS)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
