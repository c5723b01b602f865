"""A web service: `python examples/flask_handler.py my.hasten [HOST:PORT]`; POST a frame's bytes to /answer."""

import sys

import numpy as np
from flask import Flask, request

import hasten as hs


def create_app(device: hs.Device, shape: tuple[int, ...], dtype: str) -> Flask:
    """The service; Flask calls the handler from many threads at once, and all may use one device."""
    app = Flask(__name__)

    @app.post("/answer")
    def answer() -> tuple[dict[str, object], int]:
        try:
            frame = np.frombuffer(request.get_data(), dtype).reshape(shape)
            return device.infer(frame, deadline_ms=float(request.args.get("deadline_ms", 200))).line(), 200
        except ValueError as error:  # hs.InputError is one
            return {"error": str(error)}, 400

    return app


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    spec = hs.open_package(sys.argv[1]).manifest.input
    create_app(hs.Device(*sys.argv[1:3]), spec.shape, spec.dtype).run()
