"""`python -m resnet_bench` is `resnet-bench`."""

from resnet_bench.cli import main

if __name__ == "__main__":
    main()
