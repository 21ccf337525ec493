"""`python -m convnet_kafka` is the `convnet-kafka` command."""

from __future__ import annotations

from convnet_kafka.cli.main import main

if __name__ == "__main__":
    main()
