"""The edge beside general-purpose servers, on one network: tasks per second with four under way.

Each peer is installed into a virtual environment of its own that is thrown away; one that does not install or start is
named and left out. All serve the same exit in ONNX Runtime, one task at a time on one thread: a frame in (base64
in JSON where the server knows only JSON), the class out. Peers are asked by threads that keep their connections;
hasten's edge gets the frames as SUBMIT. One server runs at a time, in turns; medians over the rounds.

Usage: python benchmarks/edge_peers.py [--seconds S] [--rounds N] [--only NAME,NAME] [FILE.hasten]
Needs a package index. Without a file a residual network with random weights is built first.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import edge_throughput
import grpc
import onnx
from edge_throughput import Feeder
from onnx import numpy_helper
from segments import built_here

from hasten.split.package import Package, open_package

UNDER_WAY = 4
START_S = 180.0
ENGINE = ("numpy", "onnxruntime")
MODEL = """
import sys
import numpy as np
import onnxruntime as ort
FILE, PORT = sys.argv[1], int(sys.argv[2])

def classifier():
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(FILE, options, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0]
    shape = [size if isinstance(size, int) else 1 for size in given.shape]
    def classify(data):
        return int(session.run(None, {given.name: np.frombuffer(data, np.uint8).reshape(shape)})[0].argmax())
    return classify
"""
GRPC = """
import grpc
from concurrent.futures import ThreadPoolExecutor
classify = classifier()
def infer(data, context):
    return classify(data).to_bytes(4, "little")
method = grpc.unary_unary_rpc_method_handler(infer)
handler = grpc.method_handlers_generic_handler("inference.GRPCInferenceService", {"ModelInfer": method})
server = grpc.server(ThreadPoolExecutor(1))
server.add_generic_rpc_handlers((handler,))
server.add_insecure_port(f"127.0.0.1:{PORT}")
server.start()
server.wait_for_termination()
"""
LITSERVE = """
import base64
import litserve as ls
class Api(ls.LitAPI):
    def setup(self, device):
        self.classify = classifier()
    def decode_request(self, request):
        return base64.b64decode(request["frame"])
    def predict(self, data):
        return self.classify(data)
    def encode_response(self, answer):
        return {"class": answer}
if __name__ == "__main__":
    ls.LitServer(Api(), accelerator="cpu").run(host="127.0.0.1", port=PORT, generate_client_file=False)
"""
RAY = """
import signal
import ray
from ray import serve
from starlette.requests import Request
@serve.deployment(max_ongoing_requests=16)
class Model:
    def __init__(self):
        self.classify = classifier()
    async def __call__(self, request: Request):
        return {"class": self.classify(await request.body())}
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
serve.start(http_options={"host": "127.0.0.1", "port": PORT})
serve.run(Model.bind(), route_prefix="/predict")
signal.pause()
"""


class Peer(NamedTuple):
    """What to install, what to run, and how it is asked."""

    needs: tuple[str, ...]
    code: str
    kind: str


PEERS = {
    "gRPC (KServe style)": Peer(("grpcio",), GRPC, "grpc"),
    "LitServe": Peer(("litserve",), LITSERVE, "json"),
    "Ray Serve": Peer(("ray[serve]",), RAY, "bytes"),
}


def whole_model(package: Package, path: Path) -> None:
    """The last exit as one model, weights inside."""
    model = onnx.ModelProto.FromString(package.graph("finish", 0, len(package.manifest.exits)))
    for item in model.graph.initializer:
        if item.data_location == onnx.TensorProto.EXTERNAL:
            item.CopyFrom(numpy_helper.from_array(package.weights[item.name], item.name))
    path.write_bytes(model.SerializeToString())


def installed(folder: Path, peer: Peer) -> Path | None:
    """The Python of a fresh environment with the peer in it; None if it does not install."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    order = [python, "-m", "pip", "install", "--quiet", *ENGINE, *peer.needs]
    return python if subprocess.run(order, check=False, stderr=subprocess.DEVNULL).returncode == 0 else None


def free_port() -> int:
    """A port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


@contextlib.contextmanager
def serving(python: Path, peer: Peer, model: Path, frame: bytes) -> Iterator[Callable[[], Callable[[], object]] | None]:
    """A peer that serves: makes what asks once over a connection of its own; None if it does not answer in time."""
    port = free_port()
    script = model.with_name("serve.py")
    script.write_text(MODEL + peer.code)
    order = [str(python), str(script), str(model), str(port)]
    process = subprocess.Popen(order, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        make = asker(peer.kind, port, frame)
        end_s = time.monotonic() + START_S
        while time.monotonic() < end_s and process.poll() is None:
            with contextlib.suppress(OSError, AssertionError, grpc.RpcError, http.client.HTTPException):
                make()()
                yield make
                return
            time.sleep(0.5)
        yield None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 15)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()


def asker(kind: str, port: int, frame: bytes) -> Callable[[], Callable[[], object]]:
    """Makes a connection each time: what asks once over it."""
    if kind == "grpc":

        def over_grpc() -> Callable[[], object]:
            options = [("grpc.use_local_subchannel_pool", 1)]
            call = grpc.insecure_channel(f"127.0.0.1:{port}", options).unary_unary(
                "/inference.GRPCInferenceService/ModelInfer"
            )
            return lambda: call(frame, timeout=20)

        return over_grpc
    body = frame if kind == "bytes" else json.dumps({"frame": base64.b64encode(frame).decode()}).encode()
    content = "application/octet-stream" if kind == "bytes" else "application/json"

    def over_http() -> Callable[[], object]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)

        def ask() -> object:
            connection.request("POST", "/predict", body, {"Content-Type": content})
            answer = connection.getresponse()
            told = answer.read()
            assert answer.status == 200, told
            return told

        return ask

    return over_http


def rate(make: Callable[[], Callable[[], object]], seconds: float) -> float:
    """Answers per second, with a few threads that ask one after the other."""
    counts = [0] * UNDER_WAY
    asks = [make() for _ in range(UNDER_WAY)]
    for ask in asks:
        ask()
    end_s = time.perf_counter() + seconds

    def work(number: int) -> None:
        while time.perf_counter() < end_s:
            asks[number]()
            counts[number] += 1

    threads = [threading.Thread(target=work, args=(number,)) for number in range(UNDER_WAY)]
    begun_s = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - begun_s)


def hasten_rate(package: Package, seconds: float) -> float:
    """The same of hasten's edge."""
    order = [sys.executable, edge_throughput.__file__, "--serve", "hasten", str(package.path)]
    process = subprocess.Popen(order, stdout=subprocess.PIPE, text=True, start_new_session=True)  # as the peers
    assert process.stdout is not None
    try:
        feeder = Feeder(package, 0, len(package.manifest.exits))
        return asyncio.run(feeder.run(int(process.stdout.readline()), seconds))
    finally:
        process.terminate()
        process.wait()


def compare(package: Package, folder: Path, given: argparse.Namespace) -> None:
    """Install, ask in turns, print."""
    model = folder / "whole.onnx"
    whole_model(package, model)
    frame = package.samples()[0][:1].tobytes()
    wanted = given.only.split(",") if given.only else list(PEERS)
    pythons = {}
    for name in wanted:
        python = installed(folder / f"venv{len(pythons)}", PEERS[name])
        if python is None:
            print(f"{name}: does not install here")
        else:
            pythons[name] = python
    found: dict[str, list[float]] = {"hasten edge": [], **{name: [] for name in pythons}}
    for _ in range(given.rounds):
        found["hasten edge"].append(hasten_rate(package, given.seconds))
        for name, python in pythons.items():
            with serving(python, PEERS[name], model, frame) as make:
                if make is not None:
                    found[name].append(rate(make, given.seconds))
    ours = statistics.median(found["hasten edge"])
    print(f"{'server':<22} {'tasks/s':>8} {'hasten is':>10}")
    for name, rates in found.items():
        if rates:
            theirs = statistics.median(rates)
            print(f"{name:<22} {theirs:>8.0f} {ours / theirs:>9.2f}x")
        else:
            print(f"{name:<22} does not start here")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", help="names of peers, with commas")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        compare(open_package(given.file) if given.file else built_here(folder), folder, given)
    sys.stdout.flush()


if __name__ == "__main__":
    main()
