"""The Open Inference Protocol as tritonclient speaks it, over HTTP and gRPC; and as anybody might."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import ssl
import subprocess
import threading
from types import SimpleNamespace

import grpc as grpcio
import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tiny_package import Tiny
from tritonclient.utils import InferenceServerException

import hasten as hs
from hasten.core.errors import InputError
from hasten.runtime.edge.oip import serving
from hasten.runtime.edge.oip.asking import AskError, Trouble
from hasten.runtime.edge.oip.door import InferenceDoor
from hasten.runtime.edge.oip.http import JSON_LENGTH
from hasten.split.build import build_package
from hasten.split.executor import Executor
from hasten.split.package import with_profile

TOKEN = "a token of this edge"
BEARER = {"authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """A package with larger frames than the others have."""
    frames = np.random.default_rng(0).integers(0, 256, (6, 1, 320, 320), dtype=np.uint8)
    labels, path = np.arange(6) % 5, tmp_path_factory.mktemp("package") / "wide.hasten"
    return build_package(Tiny().eval(), frames, labels, name="wide", exit_names=["a", "b"], path=path)


@pytest.fixture(scope="module")
def edge(package, detector):
    with hs.Edge([package, detector], port=0, oip="127.0.0.1:0", token=TOKEN) as edge:
        yield edge


@pytest.fixture(scope="module", params=["http", "grpc"])
def door(request, edge):
    """A client with the library it is of."""
    if request.param == "http":
        library, client = triton_http, triton_http.InferenceServerClient(edge.addresses["oip"].removeprefix("http://"))
    else:
        library, client = triton_grpc, triton_grpc.InferenceServerClient(edge.addresses["oip grpc"])

    def tensor(name, array):
        kinds = {"uint8": "UINT8", "float32": "FP32", "int64": "INT64", "bool": "BOOL", "int32": "INT32"}
        given = library.InferInput(name, list(array.shape), kinds[array.dtype.name])
        given.set_data_from_numpy(array)
        return given

    yield SimpleNamespace(library=library, client=client, tensor=tensor, name=request.param)
    client.close()


def infer(door, model, arrays, **how):
    return door.client.infer(model, [door.tensor(*item) for item in arrays.items()], headers=dict(BEARER), **how)


def frame_of(package):
    return {package.manifest.inputs[0].name: package.samples()[0][:1]}


def test_health_and_metadata(door, package):
    client = door.client
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready("tiny", headers=dict(BEARER)) and not client.is_model_ready("none", headers=BEARER)
    assert client.is_model_ready("tiny", package.digest, headers=dict(BEARER))
    options = {} if door.name == "http" else {"as_json": True}
    server = client.get_server_metadata(headers=dict(BEARER), **options)
    assert server == {"name": "hasten", "version": hs.__version__, "extensions": ["binary_tensor_data"]}
    model = client.get_model_metadata("tiny", headers=dict(BEARER), **options)
    shape = [1, 1, 32, 32] if door.name == "http" else ["1", "1", "32", "32"]
    assert model["inputs"] == [{"name": package.manifest.inputs[0].name, "datatype": "UINT8", "shape": shape}]
    assert model["versions"] == [package.digest] and model["outputs"][0]["name"] == "logits"


def test_what_may_be_asked_for_stands_in_the_metadata(edge, package):
    status, told, _ = ask(edge, "GET", "/v2/models/tiny")
    exits, partitions = (json.loads(told["properties"][name]) for name in ("exits", "partitions"))
    assert status == 200
    offered = [(entry["exit"], entry["partitions"]) for entry in exits]
    assert offered == [(1, [0, 1]), (2, [0, 1, 2])]  # what leaves something to the edge
    assert [entry["partition"] for entry in partitions] == [0, 1, 2, 3]
    cut = package.manifest.cuts[1].tensors[0]
    assert partitions[1]["inputs"] == [{"name": cut.name, "datatype": "FP32", "shape": [1, *cut.shape]}]


def test_every_exit_from_every_partition_answers_as_the_package_does(door, package):
    executor, frame = Executor(package), package.samples()[0][:1]
    for exit_, partition in package.manifest.options():
        tensors = [frame] if partition == 0 else executor.prefix(partition, [frame])
        specs = package.manifest.cuts[partition].tensors
        arrays = {spec.name: tensor for spec, tensor in zip(specs, tensors, strict=True)}
        wanted = executor.outputs(partition, exit_, tensors)["logits"]
        parameters = {"exit": exit_, "partition": partition, "deadline_ms": 10_000}
        if partition == package.manifest.exits[exit_ - 1].after_block:
            with pytest.raises(InferenceServerException, match="leaves something to the edge"):
                infer(door, "tiny", arrays, parameters=parameters)
            continue
        got = infer(door, "tiny", arrays, parameters=parameters, request_id="r7", model_version=package.digest)
        np.testing.assert_array_equal(got.as_numpy("logits"), wanted[None])
        told = got.get_response() if door.name == "http" else None
        if told is not None:
            assert told["id"] == "r7" and told["model_version"] == package.digest
            assert (told["parameters"]["exit"], told["parameters"]["partition"]) == (exit_, partition)
            assert told["parameters"]["class"] == int(wanted.argmax())


def test_several_outputs_and_some_of_them(door, detector):
    executor = Executor(detector)
    arrays = frame_of(detector)
    last = len(detector.manifest.exits)
    wanted = executor.outputs(0, last, list(arrays.values()))
    got = infer(door, detector.manifest.name, arrays)
    assert len(wanted) > 2
    for name, array in wanted.items():
        np.testing.assert_array_equal(got.as_numpy(name), array[None])
    some = list(wanted)[1]
    got = infer(door, detector.manifest.name, arrays, outputs=[door.library.InferRequestedOutput(some)])
    np.testing.assert_array_equal(got.as_numpy(some), wanted[some][None])
    assert got.as_numpy(next(iter(wanted))) is None


HTTP_STATUS = {"INVALID_ARGUMENT": "400", "NOT_FOUND": "404", "DEADLINE_EXCEEDED": "504", "UNAUTHENTICATED": "401"}
WRONG = {
    "exit": ({"parameters": {"exit": 9}}, "INVALID_ARGUMENT", "got exit 9"),
    "type": ({"parameters": {"exit": "1"}}, "INVALID_ARGUMENT", "exit: got '1', expected a whole number"),
    "name": ({"parameters": {"exits": 1}}, "INVALID_ARGUMENT", "got 'exits', expected exit, partition"),
    "deadline": ({"parameters": {"deadline_ms": -1}}, "INVALID_ARGUMENT", "expected a number above 0"),
    "late": ({"parameters": {"deadline_ms": 1e-6}}, "DEADLINE_EXCEEDED", "it was not run"),
    "timeout": ({"timeout": 1}, "DEADLINE_EXCEEDED", "it was not run"),
    "version": ({"model_version": "7"}, "NOT_FOUND", "got '7', expected"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_told_as_the_protocol_says(door, package, case):
    how, status, text = WRONG[case]
    with pytest.raises(InferenceServerException, match=text) as refused:
        infer(door, "tiny", frame_of(package), **how)
    expected = HTTP_STATUS[status] if door.name == "http" else f"StatusCode.{status}"
    assert refused.value.status() == expected


def test_tensors_are_held_against_the_package(door, package):
    name, frame = next(iter(frame_of(package).items()))
    wrong = [{"y": frame}, {name: frame[:, :, :31]}, {name: frame.astype(np.float32)}, {name: np.repeat(frame, 2, 0)}]
    for arrays in wrong:
        with pytest.raises(InferenceServerException, match=r"expected .*UINT8\[1, 1, 32, 32\]"):
            infer(door, "tiny", arrays)
    with pytest.raises(InferenceServerException, match="expected some of logits"):
        infer(door, "tiny", {name: frame}, outputs=[door.library.InferRequestedOutput("boxes")])


def test_without_the_token_there_is_health_only(door, package):
    client = door.client
    assert client.is_server_ready()
    for headers in (None, {"authorization": "Bearer another"}):
        with pytest.raises(InferenceServerException, match="token: got another") as refused:
            client.infer("tiny", [door.tensor(*item) for item in frame_of(package).items()], headers=headers)
        assert refused.value.status() == ("401" if door.name == "http" else "StatusCode.UNAUTHENTICATED")
        with pytest.raises(InferenceServerException):
            client.get_model_metadata("tiny", headers=headers)


def ask(edge, method, path, body=None, headers=None):
    """Status, JSON and headers of an answer over HTTP."""
    connection = http.client.HTTPConnection(edge.addresses["oip"].removeprefix("http://"), timeout=20)
    try:
        connection.request(method, path, body, {**BEARER, **(headers or {})})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"{}"), answer.headers
    finally:
        connection.close()


def body_of(package, **changes):
    ((name, frame),) = frame_of(package).items()
    given = {"name": name, "shape": [1, 1, 32, 32], "datatype": "UINT8", "data": frame.reshape(-1).tolist()}
    return {"inputs": [{**given, **changes.pop("input", {})}], **changes}


@pytest.mark.parametrize("nested", [False, True])
def test_numbers_may_come_as_text(edge, package, nested):
    frame = package.samples()[0][:1]
    body = body_of(package, id="q", input={"data": frame.tolist()} if nested else {})
    status, told, _ = ask(edge, "POST", "/v2/models/tiny/infer", json.dumps(body))
    (output,) = told["outputs"]
    assert status == 200 and told["id"] == "q"
    assert (output["datatype"], output["shape"]) == ("FP32", [1, 5])
    wanted = Executor(package).outputs(0, 2, [frame])["logits"]
    np.testing.assert_array_equal(np.array(output["data"], np.float32), wanted)


BAD_BODIES = {
    "no JSON": (b"{", 400, "valid JSON"),
    "no object": (b"[]", 400, "expected"),
    "unknown key": ({"input": {}, "batch": 3}, 400, "batch"),
    "no numbers": ({"input": {"data": ["1"] * 1024}}, 400, "no list of numbers"),
    "ragged": ({"input": {"data": [[1, 2], 3]}}, 400, "no list of numbers"),
    "too few": ({"input": {"data": [1, 2]}}, 400, "got 2 numbers, expected 1024"),
    "out of range": ({"input": {"data": [256] * 1024}}, 400, "expected 0..255"),
    "fractions": ({"input": {"data": [0.5] * 1024}}, 400, "expected numbers of type uint8"),
    "huge": ({"input": {"data": [1 << 80] * 1024}}, 400, "no list of numbers"),
    "nothing behind": ({"input": {"data": None, "parameters": {"binary_data_size": 1024}}}, 400, "binary_data_size"),
    "deep": (b'{"inputs": ' + b"[" * 50_000, 400, "expected"),
}


@pytest.mark.parametrize("case", BAD_BODIES)
def test_a_bad_body_is_told_in_a_line(edge, package, case):
    given, status, text = BAD_BODIES[case]
    body = given if isinstance(given, bytes) else json.dumps(body_of(package, **given))
    got, told, _ = ask(edge, "POST", "/v2/models/tiny/infer", body)
    assert got == status and text in told["error"] and "\n" not in told["error"]


def test_sizes_are_checked_before_anything_is_received(edge):
    for headers, status in (
        ({"Content-Length": str(1 << 40)}, 413),
        ({"Transfer-Encoding": "chunked"}, 400),
        ({"Content-Length": "3", JSON_LENGTH: "4"}, 400),
        ({"Content-Length": "3", "Content-Encoding": "gzip"}, 400),
    ):
        connection = http.client.HTTPConnection(edge.addresses["oip"].removeprefix("http://"), timeout=20)
        connection.putrequest("POST", "/v2/models/tiny/infer")
        for name, value in {**BEARER, **headers}.items():
            connection.putheader(name, value)
        connection.endheaders(b"abc" if headers.get("Content-Length") == "3" else None)
        answer = connection.getresponse()  # though nothing was sent
        assert answer.status == status, headers
        assert "expected" in json.loads(answer.read())["error"]
        connection.close()


def test_a_body_may_not_be_longer_than_announced(edge):
    """With both headers chunks win, and could go on for ever."""
    connection = http.client.HTTPConnection(edge.addresses["oip"].removeprefix("http://"), timeout=20)
    connection.putrequest("POST", "/v2/models/tiny/infer")
    for name, value in {**BEARER, "Content-Length": "10", "Transfer-Encoding": "chunked"}.items():
        connection.putheader(name, value)
    connection.endheaders(b"20\r\n" + bytes(32) + b"\r\n")  # the last chunk never comes
    answer = connection.getresponse()
    assert answer.status == 400 and "more than the 10 bytes" in json.loads(answer.read())["error"]
    connection.close()


def test_who_asks_too_much_is_told_when_to_try_again(edge, package, monkeypatch):
    async def busy(self, ask, address):
        raise AskError(Trouble.BUSY, "512 tasks wait, which is all that may", 1200.5)

    monkeypatch.setattr(InferenceDoor, "infer", busy)
    connection = http.client.HTTPConnection(edge.addresses["oip"].removeprefix("http://"), timeout=20)
    connection.request("POST", "/v2/models/tiny/infer", json.dumps({"inputs": []}), BEARER)
    answer = connection.getresponse()
    told = answer.status, answer.getheader("Retry-After"), answer.getheader("Retry-After-Ms")
    connection.close()
    assert told == (503, "2", "1201")
    with grpcio.insecure_channel(edge.addresses["oip grpc"]) as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        with pytest.raises(grpcio.RpcError) as refused:
            call(b"", metadata=tuple(BEARER.items()), timeout=20)
    assert refused.value.code() is grpcio.StatusCode.RESOURCE_EXHAUSTED
    assert dict(refused.value.trailing_metadata())["grpc-retry-pushback-ms"] == "1201"


def test_paths_that_are_none(edge):
    assert ask(edge, "GET", "/v2/models/other")[0] == 404
    assert ask(edge, "GET", "/v3")[0] == 404
    status, told, _ = ask(edge, "GET", "/v2/models/tiny/infer")
    assert status in (404, 405) and told["error"]


def test_a_message_that_is_too_large_is_refused_by_grpc(edge):
    with triton_grpc.InferenceServerClient(edge.addresses["oip grpc"]) as client:
        given = triton_grpc.InferInput("input", [1, 1, 2000, 2000], "UINT8")
        given.set_data_from_numpy(np.zeros((1, 1, 2000, 2000), np.uint8))
        with pytest.raises(InferenceServerException, match="larger than max") as refused:
            client.infer("tiny", [given], headers=dict(BEARER))
        assert refused.value.status() == "StatusCode.RESOURCE_EXHAUSTED"


def asked_of_wide(channel, frame):
    """Logits of the larger package, over gRPC."""
    request = triton_grpc.service_pb2.ModelInferRequest(model_name="wide")
    request.inputs.add(name="input", datatype="UINT8", shape=list(frame.shape))
    request.raw_input_contents.append(frame.tobytes())
    call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
    told = call(request.SerializeToString(), timeout=20, wait_for_ready=True)
    answer = triton_grpc.service_pb2.ModelInferResponse.FromString(told)
    return np.frombuffer(answer.raw_output_contents[0], np.float32)


def asked_until_told(channel, frame):
    """The same, while the port is opened anew."""
    for _ in range(100):
        try:
            return asked_of_wide(channel, frame)
        except grpcio.RpcError as error:
            assert error.code() is not grpcio.StatusCode.DEADLINE_EXCEEDED
    raise AssertionError("gRPC's port did not open again")


def test_a_larger_package_that_comes_later_may_be_asked_for_over_grpc(package, wide):
    """A server of gRPC's has one limit for all its life, so it is another one afterwards, at the same port."""
    frame = frame_of(wide)["input"]
    with (
        hs.Edge([package], port=0, oip="127.0.0.1:0") as edge,
        grpcio.insecure_channel(edge.addresses["oip grpc"]) as channel,
    ):
        with pytest.raises(grpcio.RpcError, match="larger than max"):
            asked_of_wide(channel, frame)
        edge.add_package(wide)
        got = asked_until_told(channel, frame)
    np.testing.assert_array_equal(got, Executor(wide).outputs(0, 2, [frame])["logits"])


def test_a_port_that_does_not_open_again_is_told_once_and_tried_on(package, wide, monkeypatch, caplog):
    monkeypatch.setattr(serving, "BIND_EVERY_S", 0.001)
    monkeypatch.setattr(serving, "BIND_SELDOM_S", 0.004)
    caplog.set_level("INFO")
    frame, bind, tried = frame_of(wide)["input"], serving.OipServer._bind, []

    def unreadable(self, server, place):
        tried.append(place.port)
        if len(tried) < 6:
            raise PermissionError("key.pem")
        return bind(self, server, place)

    with hs.Edge([package], port=0, oip="127.0.0.1:0") as edge:
        monkeypatch.setattr(serving.OipServer, "_bind", unreadable)
        edge.add_package(wide)
        with grpcio.insecure_channel(edge.addresses["oip grpc"]) as channel:
            assert len(asked_until_told(channel, frame)) == 5
    assert len(tried) >= 6
    assert [text for text in caplog.messages if "not open yet" in text] == [
        "edge: gRPC's port is not open yet: PermissionError: key.pem"
    ]


@pytest.fixture
def threads(monkeypatch):
    """The doors' threads; each goes on from having opened only when it is waited for at the end."""
    made, closing = [], threading.Event()

    class Opened(threading.Event):
        def set(self):
            super().set()
            closing.wait(20)

    class Waited(threading.Thread):
        def __init__(self, **how):
            super().__init__(**how)
            made.append(self)

        def join(self, timeout=None):
            closing.set()
            super().join(timeout)

    monkeypatch.setattr(serving, "threading", SimpleNamespace(Event=Opened, Thread=Waited))
    return made


def test_a_door_that_is_closed_as_soon_as_it_is_open_ends(package, threads):
    with hs.Edge([package], port=0, oip="127.0.0.1:0"):
        pass
    assert [thread.is_alive() for thread in threads] == [False]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_where_http_dies_grpc_ends_too_and_the_edge_goes_on(package, wide, threads, monkeypatch):
    async def dies(self, sockets):
        raise OSError("key.pem")

    monkeypatch.setattr(serving.uvicorn.Server, "serve", dies)
    with hs.Edge([package], port=0, oip="127.0.0.1:0") as edge:
        threads[0].join(20)
        assert not threads[0].is_alive()
        host, port = edge.addresses["oip grpc"].split(":")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((host, int(port)), timeout=5)
        assert edge.add_package(wide) == wide.digest


def test_other_bytes_than_protobuf_are_a_wrong_request(edge):
    with grpcio.insecure_channel(edge.addresses["oip grpc"]) as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        with pytest.raises(grpcio.RpcError) as refused:
            call(b"\xff" * 20, metadata=tuple(BEARER.items()), timeout=20)
    assert refused.value.code() is grpcio.StatusCode.INVALID_ARGUMENT
    assert "expected its request as protobuf" in refused.value.details()


def test_a_request_that_never_comes_whole_does_not_hold_up_the_end(package, capfd):
    with hs.Edge([package], port=0, oip="0") as edge:
        port = int(edge.addresses["oip"].rpartition(":")[2])
        half = socket.create_connection(("127.0.0.1", port))
        half.sendall(b"POST /v2/models/tiny/infer HTTP/1.1\r\nHost: edge\r\nContent-Length: 1500\r\n\r\nhalf")
        assert ask(edge, "GET", "/v2/health/ready")[0] == 200
    half.settimeout(20)
    assert b"503" in half.recv(100)
    half.close()
    assert "Traceback" not in capfd.readouterr().err


def test_a_port_that_is_taken_is_told(edge, package):
    with pytest.raises(InputError, match="free port"):
        hs.Edge([package], port=0, oip=edge.addresses["oip"].removeprefix("http://"))
    taken = int(edge.addresses["oip grpc"].rpartition(":")[2])
    with pytest.raises(InputError, match=r"free port .* for gRPC"):
        hs.Edge([package], port=0, oip=str(taken - 1))


@pytest.fixture(scope="module")
def tls_files(tmp_path_factory):
    """(certificate, key) for this machine, which also signs itself."""
    if shutil.which("openssl") is None:
        pytest.skip("makes its certificate with the openssl command")
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    subprocess.run([*made, "-keyout", key, "-out", cert, *name], check=True, capture_output=True)
    return cert, key


def health_over_tls(edge, context):
    port = int(edge.addresses["oip"].rpartition(":")[2])
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=20)
    try:
        connection.request("GET", "/v2/health/ready")
        return connection.getresponse().status
    finally:
        connection.close()


def test_with_a_certificate_both_speak_tls(package, tls_files):
    cert, key = tls_files
    with hs.Edge([package], port=0, oip="0", tls_cert=cert, tls_key=key) as edge:
        assert edge.addresses["oip"].startswith("https://127.0.0.1:")
        assert health_over_tls(edge, ssl.create_default_context(cafile=cert)) == 200
        address = edge.addresses["oip grpc"]
        with triton_grpc.InferenceServerClient(address, ssl=True, root_certificates=str(cert)) as client:
            assert client.is_server_ready()
        with triton_grpc.InferenceServerClient(address) as client, pytest.raises(InferenceServerException):
            client.is_server_ready(client_timeout=5)


def test_with_an_authority_both_ask_for_a_certificate(package, tls_files):
    cert, key = tls_files
    with hs.Edge([package], port=0, oip="0", tls_cert=cert, tls_key=key, client_ca=cert) as edge:
        address = edge.addresses["oip grpc"]
        files = {"ssl": True, "root_certificates": str(cert)}
        with triton_grpc.InferenceServerClient(address, **files) as client, pytest.raises(InferenceServerException):
            client.is_server_ready(client_timeout=5)
        own = {"private_key": str(key), "certificate_chain": str(cert)}
        with triton_grpc.InferenceServerClient(address, **files, **own) as client:
            assert client.is_server_ready()
        with pytest.raises((ssl.SSLError, ConnectionError, http.client.RemoteDisconnected)):
            health_over_tls(edge, ssl.create_default_context(cafile=cert))
        context = ssl.create_default_context(cafile=cert)
        context.load_cert_chain(cert, key)
        assert health_over_tls(edge, context) == 200


def test_the_version_that_came_last_answers_for_a_model(package, tmp_path):
    frame = package.samples()[0][:1]
    profile = package.profile.model_copy(update={"source": "another version"})
    newer = with_profile(package, profile, tmp_path / "newer.hasten")
    with hs.Edge([package], port=0, oip="0") as edge:
        client = triton_http.InferenceServerClient(edge.addresses["oip"].removeprefix("http://"))
        given = triton_http.InferInput("input", [1, 1, 32, 32], "UINT8")
        given.set_data_from_numpy(frame)

        def version(**how):
            return client.infer("tiny", [given], **how).get_response()["model_version"]

        assert version() == package.digest
        edge.add_package(newer)
        assert version() == newer.digest
        assert version(model_version=package.digest) == package.digest
        assert client.get_model_metadata("tiny")["versions"] == [package.digest, newer.digest]
        edge.remove_package(newer.digest)
        assert version() == package.digest
        client.close()
