"""The demo's modules are imported by their bare names, as its scripts do."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "demo"))
