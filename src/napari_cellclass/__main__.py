"""``python -m napari_cellclass`` is the same program as ``napari-cellclass``."""

import sys

from napari_cellclass.cli import main

if __name__ == "__main__":
    sys.exit(main())
