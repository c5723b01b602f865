"""Sources that give one frame after another: videos, pictures, functions; what cannot be opened is named."""

from __future__ import annotations

import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from hasten.core.errors import HastenError, InputError
from hasten.runtime.device.live_sources import live_source, paced
from hasten.split.manifest import TensorSpec

SPEC = TensorSpec(name="x", shape=(1, 32, 32), dtype="uint8")
GREYS = [0, 60, 120, 180, 240]


@pytest.fixture
def cv2():
    return pytest.importorskip("cv2")


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "myframes.py").write_text(
        "import numpy as np\n"
        "def three():\n    return (np.full((1, 32, 32), n, np.uint8) for n in range(3))\n"
        "def broken():\n    raise OSError('no camera')\n"
        "def number():\n    return 5\n"
    )
    monkeypatch.chdir(tmp_path)
    yield "myframes"
    sys.modules.pop("myframes", None)


def video(cv2, path, rate_hz=20.0):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), rate_hz, (64, 64))
    for grey in GREYS:
        writer.write(np.full((64, 64, 3), grey, np.uint8))
    writer.release()
    return str(path)


def test_a_video_gives_its_frames_and_its_rate(cv2, tmp_path):
    source = live_source(video(cv2, tmp_path / "clip.avi"), [SPEC])
    frames = list(source.frames)
    assert not source.own_pace and source.rate_hz == pytest.approx(20.0)
    assert [frame.shape for frame in frames] == [(1, 32, 32)] * 5
    assert [float(frame.mean()) for frame in frames] == pytest.approx(GREYS, abs=3)


def test_the_end_of_a_stream_from_the_network_is_told(cv2, tmp_path, capsys):
    video(cv2, tmp_path / "clip.avi")
    serve = partial(SimpleHTTPRequestHandler, directory=tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/clip.avi"
        source = live_source(url, [SPEC])
        frames = list(source.frames)
        server.shutdown()
    assert source.own_pace and [float(frame.mean()) for frame in frames] == pytest.approx(GREYS, abs=3)
    assert f"hasten: {url} gives no more frames\n" in capsys.readouterr().err


def test_a_folder_of_pictures_in_the_order_of_names(cv2, tmp_path):
    for name, grey in (("b.png", 200), ("a.JPG", 100), ("c.txt", None)):
        if grey is None:
            (tmp_path / name).write_text("no picture")
        else:
            cv2.imwrite(str(tmp_path / name), np.full((40, 50, 3), grey, np.uint8))
    frames = list(live_source(str(tmp_path), [SPEC]).frames)
    assert [float(frame.mean()) for frame in frames] == pytest.approx([100, 200], abs=2)
    (tmp_path / "0.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"0\.png: picture: .*a picture that OpenCV can read"):
        list(live_source(str(tmp_path), [SPEC]).frames)


def test_a_function_gives_frames_as_they_are(module):
    frames = list(live_source(f"{module}:three", [SPEC]).frames)
    assert [frame[0, 0, 0] for frame in frames] == [0, 1, 2]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("myframes:broken", r"can be imported and called \(OSError: no camera\)"),
        ("myframes:number", "gives an iterable, not int"),
        ("myframes:absent", "can be imported and called"),
        ("nothing_like_it:frames", "can be imported and called"),
        ("camera:front", "camera:N"),
        ("absent.mp4", "a video file that is there"),
    ],
)
def test_sources_that_cannot_be_opened(module, source, message):
    with pytest.raises(InputError, match=message):
        live_source(source, [SPEC])


def test_a_file_that_is_no_video(cv2, tmp_path, capfd):
    (tmp_path / "clip.mp4").write_bytes(b"no video")
    for source in (str(tmp_path / "clip.mp4"), "camera:99"):
        with pytest.raises(InputError, match="OpenCV can open"):
            live_source(source, [SPEC])
    assert "WARN" not in capfd.readouterr().err


def test_without_opencv_it_is_said_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "clip.mp4").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "cv2", None)
    for source in ("camera:0", "rtsp://192.0.2.1/x", str(tmp_path / "clip.mp4")):
        with pytest.raises(HastenError, match=r"pip install 'hasten\[camera\]'"):
            live_source(source, [SPEC])


@pytest.mark.parametrize("source", ["samples", "synthetic", "/nowhere", "C:\\frames"])
def test_other_sources_are_left_to_others(source):
    assert live_source(source, [SPEC]) is None


def test_frames_are_held_back_until_their_time():
    waits = []
    assert list(paced("abc", [0.0, 1e9, 2e9, 3e9], waits.append)) == ["a", "b", "c"]
    assert waits == pytest.approx([1e6, 2e6], rel=1e-3)
