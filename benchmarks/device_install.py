"""Size of a device's installation, and how long an agent takes to start. Needs a package index.

Installs hasten without extras into a fresh virtual environment, beside it ONNX Runtime with numpy alone as the peer
(nothing that runs these networks can be smaller), and prints both, their ratio, and what each package adds.
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
STARTED = "import hasten.runtime.device.command, hasten.schedulers.greedy"
SIZES = """
import importlib.metadata as metadata
for it in metadata.distributions():
    paths = [file.locate() for file in it.files or ()]
    print(it.name, sum(path.stat().st_size for path in paths if path.is_file()))
"""


def install(folder: Path, *what: str) -> tuple[Path, float]:
    """A fresh environment with ``what`` in it: its Python and its size in MB, pip itself left out."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    pip = [python, "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt"]
    subprocess.run([*pip, *what], check=True, stderr=subprocess.DEVNULL)
    subprocess.run([python, "-m", "pip", "uninstall", "--quiet", "-y", "setuptools", "pip"], check=True)
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return python, sum(path.stat().st_size for path in files) / 1e6


def packages(python: Path) -> dict[str, float]:
    """Size of each installed package in MB, compiled files included."""
    told = subprocess.run([python, "-I", "-c", SIZES], check=True, capture_output=True, text=True).stdout
    return {name: int(size) / 1e6 for name, size in (line.split() for line in told.splitlines())}


def start_s(python: Path) -> float:
    """Median seconds until an agent's modules are loaded."""
    taken = []
    for _ in range(STARTS):
        start = time.perf_counter()
        subprocess.run([python, "-I", "-c", STARTED], check=True)
        taken.append(time.perf_counter() - start)
    return sorted(taken)[STARTS // 2]


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        python, size = install(Path(folder) / "hasten", str(ROOT))
        least, peer = install(Path(folder) / "peer", "numpy", "onnxruntime")
        print(
            f"device install        {size:7.0f} MB   (numpy and ONNX Runtime alone {peer:.0f} MB, {size / peer:.2f} x)"
        )
        added = packages(python)
        engine = {name: added.pop(name) for name in packages(least)}
        for name, size in sorted(engine.items(), key=lambda it: -it[1]):
            print(f"    {name:<20} {size:5.1f} MB   (in both)")
        for name, size in sorted(added.items(), key=lambda it: -it[1]):
            print(f"    {name:<20} {size:5.1f} MB")
        print(f"agent start           {start_s(python):7.2f} s    (Python {sys.version.split()[0]})")


if __name__ == "__main__":
    main()
