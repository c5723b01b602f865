"""Size of a device's installation, and how long an agent takes to start. Needs a package index.

Installs hasten without extras into a fresh virtual environment, beside it ONNX Runtime with numpy alone as the peer
(nothing that runs these networks can be smaller), and prints both and their ratio.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent
STARTS = 5


def install(folder: Path, *what: str) -> tuple[Path, float]:
    """A fresh environment with ``what`` in it: its Python and its size in MB, pip itself left out."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    pip = [python, "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt"]
    subprocess.run([*pip, *what], check=True, stderr=subprocess.DEVNULL)
    subprocess.run([python, "-m", "pip", "uninstall", "--quiet", "-y", "setuptools", "pip"], check=True)
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return python, sum(path.stat().st_size for path in files) / 1e6


def start_s(python: Path) -> float:
    """Median seconds until an agent's modules are loaded."""
    taken = []
    for _ in range(STARTS):
        start = time.perf_counter()
        subprocess.run([python, "-c", "import hasten.runtime.device.command, hasten.schedulers.greedy"], check=True)
        taken.append(time.perf_counter() - start)
    return sorted(taken)[STARTS // 2]


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        python, size = install(Path(folder) / "hasten", str(ROOT))
        _, peer = install(Path(folder) / "peer", "numpy", "onnxruntime")
        print(
            f"device install        {size:7.0f} MB   (numpy and ONNX Runtime alone {peer:.0f} MB, {size / peer:.2f} x)"
        )
        print(f"agent start           {start_s(python):7.2f} s    (Python {sys.version.split()[0]})")


if __name__ == "__main__":
    main()
