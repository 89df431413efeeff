"""`python -m tranship`."""

import sys

from tranship.cli import main

if __name__ == "__main__":
    sys.exit(main())
