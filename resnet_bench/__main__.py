"""`python -m resnet_bench` is `resnet-bench`."""

import sys
from typing import NoReturn

from resnet_bench.interrupts import Stopping


def main() -> NoReturn:
    """Run the command line and exit; Ctrl-C is handled before the imports."""
    sys.exit(Stopping().code_of(_imported_and_run))


def _imported_and_run() -> int:
    from resnet_bench.cli import run_here

    return run_here()


if __name__ == "__main__":
    main()
