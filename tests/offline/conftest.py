"""Makes the helpers beside these tests and those of the simulator, and the peers that benchmarks compare with, importable."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
for folder in (HERE, HERE.parent / "sim", HERE.parent.parent / "benchmarks"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
