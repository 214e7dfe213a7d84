"""`python -m sidecar` is `bartizan sidecar`."""

import sys

from .main import main

sys.exit(main(sys.argv[1:]))
