"""`python -m securefl_cli`: the command line."""

import sys

from securefl_cli.main import main

sys.exit(main())
