"""`python -m attar.cli`."""

import sys

from . import main

sys.exit(main())
