"""Run every benchmark script, and print its tables; not the longest (soak), what needs servers, or the demo's folder.

On a busy machine the ratios drift; run it alone.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
HELPERS = {"all.py", "busy_core.py", "cp_sat_peer.py", "simpy_peer.py", "soak.py", "edge_peers.py"}


def main() -> None:
    """Run all scripts, or those named on the command line without their ending."""
    wanted = set(sys.argv[1:])
    failed = []
    for script in sorted(HERE.glob("*.py")):
        if script.name in HELPERS or (wanted and script.stem not in wanted):
            continue
        print(f"\n=== {script.stem} " + "=" * (70 - len(script.stem)), flush=True)
        if subprocess.run([sys.executable, str(script)], check=False).returncode != 0:
            failed.append(script.stem)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
