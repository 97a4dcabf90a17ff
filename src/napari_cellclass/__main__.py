"""Entry point of both ``napari-cellclass`` and ``python -m napari_cellclass``."""

import os
import sys


def run() -> int:
    """Run the command line; Ctrl-C ends it in one line, even while it is still being imported."""
    # Our matrices are small: next to a busy program, threads would wait for each other longer than they compute.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        from napari_cellclass.cli.main import main

        return main()
    except KeyboardInterrupt:
        print("napari-cellclass: cancelled", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(run())
