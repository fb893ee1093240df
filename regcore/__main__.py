"""``python -m regcore``: the command line."""

import sys

from regcore.cli import main

if __name__ == "__main__":
    sys.exit(main())
