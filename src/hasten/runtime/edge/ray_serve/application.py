"""The replicas of one edge: an application on Ray Serve, deployed, called, counted and deleted."""

from __future__ import annotations

import logging
import os
import socket
import threading
import uuid
from contextlib import suppress
from typing import Any

from hasten.core.errors import HastenError, InputError
from hasten.core.profile import Profile
from hasten.runtime.edge.ray_serve.board import Board, Offered, Ready
from hasten.runtime.edge.ray_serve.replica import Replica
from hasten.runtime.edge.ray_serve.scaling import ReplicaRange
from hasten.runtime.edge.served import ReplicaError
from hasten.runtime.needs import needing
from hasten.split.package import Package

NAMESPACE = "hasten"
DEPLOYMENT = "replica"
CALL_S = 60.0
"""A call that is not answered in so long is given up."""
HOLD_S = 600.0
"""A package that is not warm in so long is given up; a large one takes a while to be sent and warmed."""
CALLS = ("run", "run_together", "check")


def application_name(port: int) -> str:
    """The name of an edge's application: the same when it is started again in its place, if that is known (not 0)."""
    return f"hasten-{socket.gethostname()}-{port or uuid.uuid4().hex[:8]}"


class Application:
    """Replicas on a Ray cluster; methods may be called from any thread, but not from an event loop: they wait.

    Args:
        name: of the application; one edge at a time has it.
        allowed: how many replicas there may be.
        memory_bytes: of each replica, for segments that are kept ready.

    Attributes:
        allowed: as given.

    Raises:
        HastenError: the extra is missing.
    """

    def __init__(self, name: str, allowed: ReplicaRange, memory_bytes: int) -> None:
        with needing("serve", "--ray"):
            import ray
            from ray import serve
            from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
        self._ray: Any = ray
        self._serve: Any = serve
        self._on_node: Any = NodeAffinitySchedulingStrategy
        self._name, self.allowed, self._memory_bytes = name, allowed, memory_bytes
        self._connected = False
        self._board: Any = None
        self._handles: dict[str, Any] = {}
        self._everybody: Any = None
        self._deploying = threading.Lock()
        self._guard = threading.Lock()  # what connects or asks has ended when the cluster is left: it would start anew
        self._closed = False
        self._counting = threading.Lock()
        self._running = 0

    def connect(self, address: str) -> None:
        """Connect to the cluster at ``address``; ``local`` starts one on this machine, which ends with :meth:`close`.

        A program that is connected already stays so.

        Raises:
            InputError: it is not reached, another edge has this name there, or this one was closed meanwhile.
        """
        if address.startswith("ray://"):
            raise InputError("edge", "ray", address, "local, auto, or HOST:PORT of a cluster that this machine is in")
        with self._guard:
            try:
                self._require_open()
                self._connect(address)
                self._require_open()
            except Exception as error:  # Ray raises many kinds, also plain ones
                self._end()
                raise InputError("edge", "ray", address, f"a Ray cluster for {self._name} ({error})") from None

    def hold(self, package: Package, profile: Profile | None) -> list[Ready]:
        """Have every replica hold a package, deploying them if it is the first; what each tells of it.

        ``profile`` replaces the package's own.

        Raises:
            HastenError: they do not start, or not all can hold it; none is to hold it then.
        """
        offered = Offered(package.path.name, package.path.read_bytes(), profile)
        try:
            self._require_open()
            self._ray.get(self._board.offer.remote(package.digest, offered), timeout=HOLD_S)
            with self._deploying:
                if self._everybody is None:
                    self._deploy()
            self._require_open()
            found: list[Ready] = self._everybody.broadcast("hold", package.digest).results(timeout_s=HOLD_S)
        except Exception as error:  # left on the board it would keep every replica from starting
            self.drop(package.digest)
            raise HastenError(f"--ray: replicas do not start with {package.path.name}: {_cause(error)}") from None
        return found

    def drop(self, digest: str) -> None:
        """Have no replica hold a package any more; does not wait, and may be called in an event loop."""
        board, everybody = self._board, self._everybody
        if board is not None:
            board.withdraw.remote(digest)
        if board is None or everybody is None:
            return

        def tell() -> None:  # it is sent only when its results are asked for, which an event loop must not do
            with suppress(Exception):  # one that is not reached ends, or holds a package that nobody asks for
                everybody.broadcast("drop", digest).results(timeout_s=CALL_S)

        threading.Thread(target=tell, name="hasten-drop", daemon=True).start()

    def call(self, method: str, *given: Any) -> Any:
        """What an idle replica answers. If that dies, another one is asked, once.

        Raises:
            ReplicaError: there is none, or it does not answer. What it raises is raised here, too.
        """
        for _ in range(2):
            if not self._running:
                break
            response = self._handles[method].remote(*given)
            try:
                return response.result(timeout_s=CALL_S)
            except self._ray.exceptions.RayTaskError as error:  # before the others: it may be of their kind, too
                raise _cause(error) from None
            except self._ray.exceptions.RayActorError:
                with self._counting:
                    self._running = max(self._running - 1, 0)
            except TimeoutError:
                response.cancel()
                raise ReplicaError(f"a replica has not answered for {CALL_S:.0f} s") from None
        raise ReplicaError("no replica is there")

    def count(self) -> int:
        """Ask Ray Serve how many replicas run; none once it is closed."""
        with self._guard:
            if self._closed:
                return 0
            application = self._serve.status().applications.get(self._name)
            found = application.deployments.get(DEPLOYMENT) if application is not None else None
            running: int = found.replica_states.get("RUNNING", 0) if found is not None else 0
            with self._counting:
                self._running = running
            return running

    def want(self, replicas: int) -> None:
        """Ask for so many replicas; Ray Serve starts and ends them by and by."""
        self._board.want.remote(replicas)

    def close(self) -> None:
        """Delete the replicas, and the cluster if it was started for them; for good."""
        self._closed = True
        waited = self._guard.acquire(timeout=CALL_S)  # one that hangs must not keep the cluster
        try:
            self._end()
        finally:
            if waited:
                self._guard.release()

    def _connect(self, address: str) -> None:
        if not self._ray.is_initialized():
            logging.getLogger("ray._private.worker").setLevel(logging.ERROR)
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            self._ray.init(
                address=address,
                namespace=NAMESPACE,
                log_to_driver=False,
                logging_level=logging.ERROR,
                include_dashboard=False if address == "local" else None,
            )
            self._connected = True
        logging.getLogger("ray.serve").setLevel(logging.ERROR)
        self._serve.start(proxy_location="Disabled", logging_config={"log_level": "ERROR"})
        board = self._ray.remote(num_cpus=0)(Board)
        here = self._on_node(self._ray.get_runtime_context().get_node_id(), soft=False)  # another node may go
        board = board.options(name=self._board_name, namespace=NAMESPACE, scheduling_strategy=here)
        self._board = board.remote(self.allowed.fewest)
        self._ray.get(self._board.wanted.remote())

    def _require_open(self) -> None:
        if self._closed:
            raise HastenError("--ray: the edge is closed")

    def _end(self) -> None:
        with self._counting:
            self._running = 0
        board, self._board = self._board, None
        try:
            if board is not None and self._ray.is_initialized():  # else its name may be another edge's
                for handle in [*self._handles.values(), self._everybody]:
                    with suppress(Exception):  # a handle that goes on telling its numbers would start Ray anew
                        handle.shutdown()
                with suppress(Exception):  # the cluster may have gone
                    self._serve.delete(self._name, _blocking=False)
                with suppress(Exception):
                    self._ray.kill(board)
        finally:
            if self._connected:
                self._connected = False
                self._ray.shutdown()

    @property
    def _board_name(self) -> str:
        return f"{self._name}-board"

    def _deploy(self) -> None:
        serve = self._serve
        router = serve.config.RequestRouterConfig(
            request_router_class="hasten.runtime.edge.ray_serve.router:IdleFirst", initial_backoff_s=0.001
        )
        deployment = serve.deployment(
            Replica,
            name=DEPLOYMENT,
            max_ongoing_requests=1,
            ray_actor_options={"num_cpus": 1},
            health_check_period_s=1.0,
            graceful_shutdown_wait_loop_s=0.1,
            graceful_shutdown_timeout_s=2.0,
            request_router_config=router,
            logging_config={"log_level": "ERROR", "enable_access_log": False},
            **self._number(),
        )
        bound = deployment.bind(self._board, self._memory_bytes)
        handle = serve.run(bound, name=self._name, route_prefix=None, blocking=False)
        logging.getLogger("ray.serve").setLevel(logging.ERROR)
        self._handles = {method: handle.options(method_name=method, _by_reference=False) for method in CALLS}
        self._everybody = handle
        self.count()

    def _number(self) -> dict[str, Any]:
        allowed = self.allowed
        if allowed.fewest == allowed.most:
            return {"num_replicas": allowed.fewest}
        config = self._serve.config
        policy = config.AutoscalingPolicy(
            policy_function="hasten.runtime.edge.ray_serve.policy:WantedReplicas",
            policy_kwargs={"board": self._board_name, "namespace": NAMESPACE},
        )
        scaling = config.AutoscalingConfig(
            min_replicas=allowed.fewest,
            max_replicas=allowed.most,
            initial_replicas=allowed.fewest,
            upscale_delay_s=0.0,
            downscale_delay_s=0.0,
            policy=policy,
        )
        return {"autoscaling_config": scaling}


def _cause(error: Exception) -> Exception:
    """What a replica raised; Ray's own error has the trace in its text, which goes to devices and operators."""
    while isinstance(cause := getattr(error, "cause", None), Exception):
        error = cause
    return error
