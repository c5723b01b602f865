"""What is in deploy/: files that their tools understand, with options and paths that exist."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest
import typer
import yaml
from pydantic import BaseModel, ConfigDict, Field

from hasten.cli.app import app
from hasten.runtime.edge.health import HealthServer
from hasten.runtime.place import ListenPlace, parse_place

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
INSTRUCTIONS = {"FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "EXPOSE", "STOPSIGNAL", "ENTRYPOINT", "CMD"}


def options_of(command):
    """The options of a command of hasten."""
    found = typer.main.get_command(app).commands[command].params
    return {option for parameter in found for option in parameter.opts if option.startswith("--")}


def require_options(words):
    """``words`` begin with a command and have no option that it does not have."""
    given = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert given and given <= options_of(words[0]), given - options_of(words[0])


@pytest.fixture(scope="module")
def stages():
    """(instruction, rest) of each line of the Containerfile, by stage."""
    text = (DEPLOY / "Containerfile").read_text().replace("\\\n", " ")
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#")]
    assert {instruction for instruction, _ in lines} <= INSTRUCTIONS
    found = []
    for instruction, rest in lines:
        if instruction == "FROM":
            found.append([])
        found[-1].append((instruction, rest))
    return found


def test_the_image_is_of_a_tagged_base_and_of_files_that_exist(stages):
    for stage in stages:
        base = stage[0][1].split()[0]
        assert re.fullmatch(r"docker\.io/library/python:3\.\d+-slim", base)
    copied = [rest.split() for instruction, rest in stages[0] if instruction == "COPY"]
    assert all((ROOT / name).exists() for words in copied for name in words[:-1])
    assert any("-c constraints.txt" in rest for instruction, rest in stages[0] if instruction == "RUN")


def test_the_image_runs_as_nobody_in_particular_and_starts_a_command_that_exists(stages):
    last = dict(stages[-1])
    user = last["USER"].split(":")
    assert all(number.isdecimal() and int(number) > 0 for number in user)
    assert last["STOPSIGNAL"] == "SIGTERM"
    assert json.loads(last["ENTRYPOINT"]) == ["hasten"]
    command = json.loads(last["CMD"])
    require_options(command)
    assert str(parse_place(command[command.index("--health") + 1], "--health").port) in last["EXPOSE"].split()


def unit(path):
    parser = configparser.ConfigParser(strict=True, interpolation=None, delimiters=("=",))
    parser.optionxform = str
    parser.read_string(path.read_text())
    return parser


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_units_start_commands_that_exist_without_root_and_with_few_rights(path):
    service = unit(path)["Service"]
    program, *words = shlex.split(service["ExecStart"])
    assert program.endswith("/hasten")
    require_options(words)
    assert service["DynamicUser"] == "yes" and service["ProtectSystem"] == "strict"
    assert service["CapabilityBoundingSet"] == ""
    assert f"HASTEN_{words[0].upper()}=" in path.read_text()
    if words[0] == "device":
        assert service["SuccessExitStatus"] == "143"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="asks systemd")
@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_systemd_understands_the_units(path, tmp_path):
    copy = tmp_path / path.name
    copy.write_text(path.read_text().replace("/opt/hasten/bin/hasten", sys.executable))
    found = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True, timeout=60)
    ours = [line for line in found.stderr.splitlines() if copy.name in line]
    assert (found.returncode, ours) == (0, []), found.stderr


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Http(Strict):
    path: str
    port: str


class Probe(Strict):
    httpGet: Http
    periodSeconds: int = Field(ge=1)
    timeoutSeconds: int = 1
    failureThreshold: int = 3


class Port(Strict):
    name: str = Field(max_length=15, pattern="^[a-z-]+$")
    containerPort: int = Field(ge=1024, le=65535)


class Mount(Strict):
    name: str
    mountPath: str = Field(pattern="^/")
    readOnly: Literal[True]


class Capabilities(Strict):
    drop: list[Literal["ALL"]] = Field(min_length=1)


class ContainerSecurity(Strict):
    allowPrivilegeEscalation: Literal[False]
    readOnlyRootFilesystem: Literal[True]
    capabilities: Capabilities


class Resources(Strict):
    requests: dict[Literal["cpu", "memory"], str]
    limits: dict[Literal["cpu", "memory"], str]


class Container(Strict):
    name: str
    image: str = Field(pattern=r"^[^:]+:\d")
    args: list[str]
    ports: list[Port]
    startupProbe: Probe
    readinessProbe: Probe
    livenessProbe: Probe
    resources: Resources
    securityContext: ContainerSecurity
    volumeMounts: list[Mount]


class Claim(Strict):
    claimName: str
    readOnly: Literal[True]


class Secret(Strict):
    secretName: str
    defaultMode: Literal[0o440]


class Volume(Strict):
    name: str
    persistentVolumeClaim: Claim | None = None
    secret: Secret | None = None


class Seccomp(Strict):
    type: Literal["RuntimeDefault"]


class PodSecurity(Strict):
    runAsNonRoot: Literal[True]
    runAsUser: int = Field(gt=0)
    runAsGroup: int = Field(gt=0)
    fsGroup: int = Field(gt=0)
    seccompProfile: Seccomp


class Pod(Strict):
    automountServiceAccountToken: Literal[False]
    terminationGracePeriodSeconds: int = Field(ge=2)
    securityContext: PodSecurity
    containers: list[Container] = Field(min_length=1, max_length=1)
    volumes: list[Volume]


class Meta(Strict):
    name: str | None = None
    labels: dict[str, str]
    annotations: dict[str, str] = {}


class Template(Strict):
    metadata: Meta
    spec: Pod


class Selector(Strict):
    matchLabels: dict[str, str]


class DeploymentSpec(Strict):
    replicas: int
    selector: Selector
    template: Template


class Deployment(Strict):
    apiVersion: Literal["apps/v1"]
    kind: Literal["Deployment"]
    metadata: Meta
    spec: DeploymentSpec


class ServicePort(Strict):
    name: str
    port: int
    targetPort: str


class ServiceSpec(Strict):
    type: Literal["LoadBalancer"]
    externalTrafficPolicy: Literal["Local"]
    selector: dict[str, str]
    ports: list[ServicePort]


class Service(Strict):
    apiVersion: Literal["v1"]
    kind: Literal["Service"]
    metadata: Meta
    spec: ServiceSpec


@pytest.fixture(scope="module")
def manifest():
    deployment, service = yaml.safe_load_all((DEPLOY / "kubernetes" / "edge.yaml").read_text())
    return Deployment.model_validate(deployment), Service.model_validate(service)


def test_the_manifest_is_of_parts_that_belong_together(manifest):
    deployment, service = manifest
    pod = deployment.spec.template
    assert pod.metadata.labels == deployment.spec.selector.matchLabels == service.spec.selector
    (container,) = pod.spec.containers
    ports = {port.name: port.containerPort for port in container.ports}
    assert [port.targetPort for port in service.spec.ports] == ["devices"]
    assert {mount.name for mount in container.volumeMounts} == {volume.name for volume in pod.spec.volumes}
    require_options(container.args)
    given = dict(word[2:].split("=") for word in container.args if word.startswith("--"))
    assert int(given["port"]) == ports["devices"]
    for door in ("health", "metrics"):
        assert parse_place(given[door], door) == ListenPlace("0.0.0.0", ports[door])
    assert pod.metadata.annotations["prometheus.io/port"] == str(ports["metrics"])
    read = [container.args[1], *(given[name] for name in ("tls-cert", "tls-key", "token-file"))]
    places = [mount.mountPath for mount in container.volumeMounts]
    assert all(any(file.startswith(f"{place}/") for place in places) for file in read)


def test_probes_ask_for_what_an_edge_answers(manifest):
    class Edge:
        closed = False

    (container,) = manifest[0].spec.template.spec.containers
    health = HealthServer(ListenPlace("127.0.0.1", 0), Edge())
    for probe, said in [("startup", b"ready"), ("readiness", b"ready"), ("liveness", b"live")]:
        asked = getattr(container, f"{probe}Probe").httpGet
        assert asked.port == "health"
        answer = health._answer(f"GET {asked.path} HTTP/1.1\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 200") and answer.endswith(said + b"\n")
