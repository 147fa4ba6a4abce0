"""Puts the directory on the path, so that the tests share the session driver."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
