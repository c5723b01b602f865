"""The server: what it answers, to whom, and what it refuses."""

from __future__ import annotations

import json

import pytest
from starlette.testclient import TestClient
from web_logs import told_round

from hasten.core.errors import InputError
from hasten.web.access import Access
from hasten.web.app import PageServer
from hasten.web.folder import RunFolder

TOKEN = "a token of some length"


class Dial:
    """One control."""

    def __init__(self):
        self.orders = []

    def offered(self):
        return [{"do": "rate", "title": "rate", "kind": "number", "value": 1.0}]

    def do(self, order):
        if order.get("do") != "rate":
            raise InputError("web", "do", order.get("do"), "rate")
        self.orders.append(order)
        return "the rate is set"


@pytest.fixture
def source(folder):
    (folder / "greedy-0.round.json").write_text(json.dumps(told_round()))
    return RunFolder(folder)


@pytest.fixture
def dial():
    return Dial()


def client(source, dial=None, host="127.0.0.1", token=TOKEN, base="http://127.0.0.1:7780"):
    return TestClient(PageServer(source, Access(host, token), dial).app(), base_url=base)


def change(page, **headers):
    return page.post(
        "/api/control", content=json.dumps({"do": "rate"}), headers={"content-type": "application/json"} | headers
    )


def test_the_page_and_its_files_come_from_this_server_alone(source):
    page = client(source)
    answer = page.get("/")
    assert answer.status_code == 200
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    for name in ("main.js", "page.css", "icon.svg", "uplot/uPlot.iife.min.js", "uplot/LICENSE"):
        assert page.get(f"/static/{name}").status_code == 200
    assert page.get("/static/../app.py").status_code == 404
    assert "http" not in answer.text.replace("http://www.w3.org", "")


def test_a_view_at_a_time(source):
    page = client(source)
    view = page.get("/api/view", params={"round": "greedy-0", "stream": 1, "at_ms": 5000}).json()
    assert (view["at_ms"], view["round"], view["kind"], len(view["points"])) == (5000.0, "greedy-0", "run", 21)
    assert [one["scheduler"] for one in view["rounds"]] == ["greedy"]
    assert page.get("/api/view").json()["at_ms"] == 9800.0
    for wrong in ({"round": "absent"}, {"at_ms": "nan"}, {"at_ms": "x"}, {"stream": "inf"}):
        answer = page.get("/api/view", params=wrong)
        assert answer.status_code == 400
        assert "expected" in answer.json()["error"]


def test_updates_end_when_the_server_does(source):
    pages = PageServer(source, Access("127.0.0.1"))
    page = TestClient(pages.app(), base_url="http://localhost")
    pages.closing.set()
    assert page.get("/api/updates").text == ""
    assert page.get("/api/updates", params={"round": "absent"}).status_code == 400


def test_a_stranger_s_name_is_refused(source):
    assert client(source, base="http://evil.example").get("/").status_code == 421
    assert client(source, base="http://192.0.2.1").get("/").status_code == 421
    assert client(source, base="http://localhost:9").get("/").status_code == 200
    assert client(source, base="http://[::1]:9").get("/").status_code == 200
    assert client(source).get("/", headers={"host": "127.0.0.1:x:y"}).status_code == 421


def test_off_the_loopback_address_nothing_without_the_token(source):
    for host in ("0.0.0.0", "::", "192.0.2.7", "edge.example"):
        with pytest.raises(InputError, match="token"):
            Access(host)
    page = client(source, host="0.0.0.0", base="http://192.0.2.7:7780")
    for path in ("/", "/api/view", "/api/updates", "/static/main.js"):
        assert page.get(path).status_code == 401
    assert page.get("/", params={"token": "another"}).status_code == 401
    assert page.get("/", params={"token": TOKEN}).status_code == 200
    assert page.get("/api/view").status_code == 200  # by its cookie
    assert client(source, host="0.0.0.0", base="http://evil.example").get("/").status_code == 421
    bearer = {"authorization": f"Bearer {TOKEN}"}
    assert client(source, host="0.0.0.0", base="http://192.0.2.7").get("/api/view", headers=bearer).status_code == 200
    with pytest.raises(InputError, match="at least 16"):
        Access("0.0.0.0", "short")


def test_no_control_without_the_token(source, dial):
    page = client(source, dial)
    assert page.get("/api/view").json()["controls"] == []
    assert change(page).status_code == 403
    page.get("/", params={"token": TOKEN})
    assert page.get("/api/view").json()["controls"] == dial.offered()
    assert change(page).json() == {"done": "the rate is set"}
    assert len(dial.orders) == 1


def test_other_sites_cannot_control(source, dial):
    page = client(source, dial)
    cookie = page.get("/", params={"token": TOKEN}).headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert TOKEN not in cookie
    assert change(page, origin="http://evil.example").status_code == 403
    assert change(page, origin="null").status_code == 403
    assert change(page, **{"content-type": "text/plain"}).status_code == 403
    assert change(page, origin="http://127.0.0.1:7780").status_code == 200
    assert page.get("/api/control").status_code == 405
    assert len(dial.orders) == 1


def test_orders_that_are_none(source, dial):
    page = client(source, dial)
    page.get("/", params={"token": TOKEN})
    sent = {"content-type": "application/json"}
    for body, status in (
        (b"{", 400),
        (b"[]", 400),
        (b'{"do": "explode"}', 400),
        (b"[" * 4000, 400),
        (b"[" * 5000, 413),
    ):
        assert page.post("/api/control", content=body, headers=sent).status_code == status
    assert (
        client(source)
        .post("/api/control", content=b"{}", headers=sent | {"authorization": f"Bearer {TOKEN}"})
        .status_code
        == 404
    )
    assert dial.orders == []
