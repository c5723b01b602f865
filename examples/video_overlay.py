"""A video (or camera) with the answers drawn in: `python examples/video_overlay.py my.hasten in.mp4 out.avi`."""

import sys

import cv2

import hasten as hs


def main(package: str, source: str, target: str, edge: str | None = None) -> int:
    """Answer every frame of ``source``, a grey one, and write it with its answer to ``target``; returns how many."""
    spec = hs.open_package(package).manifest.input
    _, height, width = spec.shape
    video, writer, frames = cv2.VideoCapture(source), None, 0
    with hs.Device(package, edge=edge, deadline_ms=200) as device:
        while (read := video.read())[0]:
            small = cv2.cvtColor(cv2.resize(read[1], (width, height)), cv2.COLOR_BGR2GRAY)
            answer = device.infer(small[None].astype(spec.dtype))
            text = f"class {answer.label} exit {answer.exit} {answer.ran_on} {answer.latency_ms:.0f} ms"
            cv2.putText(read[1], text, (4, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 255, 0))
            writer = writer or cv2.VideoWriter(target, cv2.VideoWriter.fourcc(*"MJPG"), 25, read[1].shape[1::-1])
            writer.write(read[1])
            frames += 1
    return frames


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    print(main(*sys.argv[1:]))
