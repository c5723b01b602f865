"""Build wheel and sdist, check their metadata, install the wheel in clean environments and use it there.

    python scripts/check_release.py [--python python3.12] [--extras ,plan,learn ...]

Every Python given gets a fresh environment for every set of extras (an empty one is a device's install). There the
package is used by a user who may not write to it: versions, doctor, a device that answers, and, where the extra is
there, a simulation, a plan, a training, a report, a frame of pandas and a live page. Needs ``build`` and ``twine``;
ends with 1 at the first thing that fails.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
FILES = ROOT / "tests" / "support" / "files_of_0_1"
NOBODY = 65534
DEVICE = """
import hasten as hs
package = hs.open_package("tiny.hasten")
frames, _ = package.samples()
with hs.Device(package, deadline_ms=1000) as device:
    print(device.infer(frames[0]).label)
"""
FRAME = """
import hasten as hs
print(hs.simulate(hs.load_scenario("scenario.yaml"), "greedy").to_frame().describe())
"""
PAGE = """
import subprocess, sys, urllib.request
command = [sys.executable, "-u", "-m", "hasten", "edge", "tiny.hasten", "--port", "0", "--web", "0"]
edge = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
try:
    address = next(line.split()[-1] for line in edge.stdout if "http://" in line)
    assert b"<title>" in urllib.request.urlopen(address, timeout=60).read()
finally:
    edge.terminate()
"""
USES: dict[str, tuple[list[str], ...]] = {
    "": (
        ["-m", "hasten", "--version"],
        ["-m", "hasten", "doctor"],
        ["-c", DEVICE],
        ["-m", "hasten", "inspect", "tiny.hasten"],
    ),
    "plan": (
        ["-m", "hasten", "simulate", "scenario.yaml", "--schedulers", "greedy,policy:policy.onnx"],
        ["-m", "hasten", "solve", "scenario.yaml"],
    ),
    "learn": (["-m", "hasten", "train", "scenario.yaml", "-o", "new.onnx", "--updates", "20", "--streams", "2:2"],),
    "report": (["-m", "hasten", "simulate", "scenario.yaml", "--schedulers", "greedy", "--report", "report.html"],),
    "notebook": (["-c", FRAME],),
    "web": (["-c", PAGE],),
}
BRINGS = {"learn": {"plan"}, "notebook": {"plan", "report"}, "study": {"plan", "report"}}
"""What extras bring of others."""


def main() -> None:
    """Build once, try everywhere."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", action="append", help="an interpreter; this one by default")
    parser.add_argument("--extras", action="append", help="extras with commas; none, plan and learn by default")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        folder.chmod(0o755)
        wheel = built(folder)
        for python in args.python or [sys.executable]:
            for extras in args.extras or ["", "plan", "learn"]:
                tried(folder, python, wheel, extras)


def built(folder: Path) -> Path:
    """The wheel, made from the sdist, with the metadata of both checked."""
    source = folder / "source"
    run(["git", "clone", "--quiet", str(ROOT), str(source)], folder)
    run([sys.executable, "-m", "build", "--outdir", str(folder / "dist"), str(source)], folder)
    files = sorted((folder / "dist").iterdir())
    run([sys.executable, "-m", "twine", "check", "--strict", *map(str, files)], folder)
    (wheel,) = (file for file in files if file.suffix == ".whl")
    print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB")
    return wheel


def tried(folder: Path, python: str, wheel: Path, extras: str) -> None:
    """Install with these extras, and use it as somebody who may write nothing but a folder of his own."""
    environment, work = folder / "environment", folder / "work"
    for old in (environment, work):
        shutil.rmtree(old, ignore_errors=True)
    run([python, "-m", "venv", str(environment)], folder)
    inside = str(environment / "bin" / "python")
    asked = f"{wheel}[{extras}]" if extras else str(wheel)
    run([inside, "-m", "pip", "install", "--quiet", "-c", str(ROOT / "constraints.txt"), asked], folder)
    run([inside, "-m", "pip", "check"], folder)
    shutil.copytree(FILES, work)
    work.chmod(0o777)
    stranger = can_be_nobody(inside)
    asked_for = set(extras.split(","))
    there = asked_for.union(*(BRINGS.get(name, ()) for name in asked_for))
    for name, commands in USES.items():
        if name and name not in there:
            continue
        for command in commands:
            run([inside, *command], work, as_nobody=stranger)
    print(f"{python} [{extras}]: works{', for a user who may not write to it' if stranger else ''}", flush=True)


def can_be_nobody(python: str) -> bool:
    """Whether we may become another user, and that one may reach the interpreter."""
    if os.geteuid() != 0:
        return False
    try:
        subprocess.run([python, "-c", ""], check=True, user=NOBODY, group=NOBODY, extra_groups=[])
    except PermissionError:
        return False
    return True


def run(command: list[str], folder: Path, as_nobody: bool = False) -> None:
    """Run it; what it said, and the end, where it fails."""
    home = {"HOME": str(folder)} if as_nobody else {}
    user = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if as_nobody else {}
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **home}, capture_output=True, text=True, check=False, **user
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


if __name__ == "__main__":
    main()
