"""A command whose extra is not installed says in one line which to install."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

CODE = """
import contextlib, importlib.abc, io, json, sys

HEAVY = "numba gymnasium torch onnx onnxscript sklearn PIL matplotlib pyarrow scipy tensorboardX ray starlette uvicorn prometheus_client grpc opentelemetry".split()

class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HEAVY:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name in HEAVY else found(name, package)
sys.meta_path.insert(0, Missing())

from hasten.cli import main

said = {}
for line in sys.argv[1:]:
    sys.argv = ["hasten", *line.split()]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as errors:
        try:
            main()
        except SystemExit as leaving:
            said[" ".join(line.split()[: 2 if "--ray" in line else 1])] = [leaving.code, errors.getvalue().splitlines()]
print(json.dumps(said))
"""

EXTRAS = {
    "demo": "all",
    "build": "build",
    "export": "build",
    "simulate": "plan",
    "solve": "plan",
    "train": "learn",
    "conform": "plan",
    "study": "study",
    "web": "web",
}


def test_one_line_names_the_extra(small: Path, tmp_path: Path) -> None:
    lines = [
        f"demo --quick --out {tmp_path}/demo",
        f"build m:f --exits a --data digits -o {tmp_path}/p.hasten",
        f"export absent.hasten --triton {tmp_path}/models",
        f"simulate {small}",
        f"solve {small}",
        f"train {small} -o {tmp_path}/p.onnx",
        f"conform {small}",
        f"study deadline --quick --out {tmp_path}/study",
        f"web --run {tmp_path}",
        "edge absent.hasten --metrics 0",
        "edge --ray local absent.hasten",
        "device absent.hasten --edge h:1 --deadline-ms 5",
    ]
    done = subprocess.run([sys.executable, "-c", CODE, *lines], capture_output=True, text=True, check=True, timeout=100)
    said = json.loads(done.stdout)
    for command, extra in EXTRAS.items():
        code, (line,) = said[command]
        assert code == 2
        assert f"pip install 'hasten[{extra}]'" in line, line
    code, (line,) = said["edge"]
    assert code == 2 and "pip install 'hasten[metrics]'" in line
    code, (line,) = said["edge --ray"]
    assert code == 2 and "`--ray` needs ray: pip install 'hasten[serve]'" in line
    code, (line,) = said["device"]  # needs none of them
    assert "absent.hasten" in line
