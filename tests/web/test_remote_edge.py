"""An edge by its metrics: a real one's counters, one that goes, and what is no edge."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest
from shared import built_once
from tiny_package import build_tiny

import hasten as hs
from hasten.core.errors import InputError
from hasten.web.remote_edge import RemoteEdge, edge_figures

TEXT = """# HELP hasten_edge_tasks_total Tasks that were taken, by how they ended.
hasten_edge_tasks_total{outcome="done"} 40.0
hasten_edge_tasks_total{outcome="invalid"} 2.0
hasten_edge_tasks_total{outcome="late"} 3.0
hasten_edge_tasks_total{outcome="abandoned"} 5.0
hasten_edge_refused_tasks_total{reason="busy"} 6.0
hasten_edge_refused_tasks_total{reason="quota"} 1.0
hasten_edge_waiting_tasks 4.0
hasten_edge_backlog_seconds 0.0125
hasten_edge_workers 2.0
hasten_edge_busy_workers 1.0
hasten_edge_devices 3.0
"""


def test_the_text_of_an_edge():
    figures, totals = edge_figures(TEXT)
    assert totals == {"answered": 42, "late": 3, "refused": 7}
    assert figures["hasten_edge_backlog_seconds"] == 0.0125 and figures["hasten_edge_devices"] == 3.0
    many = TEXT.replace('outcome="done"} 40.0', 'outcome="done"} 1.234567e+06')
    assert many != TEXT and edge_figures(many)[1]["answered"] == 1234567 + 2
    with pytest.raises(ValueError, match="no metrics of an edge"):
        edge_figures("process_cpu_seconds_total 3.0\n")


@pytest.fixture
def served():
    """Serves ``text`` until it is asked to end."""

    class Answering(BaseHTTPRequestHandler):
        text = TEXT

        def do_GET(self):
            self.send_response(200 if self.text else 503)
            self.end_headers()
            self.wfile.write(self.text.encode())

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield Answering, f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_the_page_has_the_counters_and_tells_of_an_edge_that_goes(served):
    answering, address = served
    edge = RemoteEdge(address)
    found = edge.updates("edge", -1).update()
    total = found["total"]
    assert (total["answered"], total["waiting"], total["backlog_ms"], total["devices"]) == (42, 4, 12.5, 3)
    assert found["live"] and found["rows"] == [] and address in found["title"]
    answering.text = ""
    with edge:
        until = threading.Event()
        for _ in range(100):
            if len(edge.events(1)) or until.wait(0.1):
                break
        assert [event["text"] for event in edge.events(1)] == ["no metrics any more: got status 503, 0 bytes"]
        assert not edge.updates("edge", -1).update()["live"]


@pytest.mark.parametrize("wrong", ["7700", "host:", "host:99999", "127.0.0.1:1"])
def test_what_is_no_edge_is_refused(wrong):
    with pytest.raises(InputError, match="hasten edge --metrics"):
        RemoteEdge(wrong)


def test_a_real_edge(tmp_path_factory):
    package = built_once(tmp_path_factory, "tiny", build_tiny)
    frame = np.zeros((1, 32, 32), np.uint8)
    with hs.Edge([package.path], port=0, metrics="127.0.0.1:0") as edge:
        place = edge.addresses["metrics"].removeprefix("http://").removesuffix("/metrics")
        with hs.Device(package.path, edge=edge.address, scheduler="edge-only:deepest", deadline_ms=5000) as device:
            assert [device.infer(frame).ran_on for _ in range(3)] == ["edge"] * 3
            total = RemoteEdge(place).updates("edge", -1).update()["total"]
        assert total["answered"] >= 3 and total["workers"] == 1 and total["devices"] == 1
