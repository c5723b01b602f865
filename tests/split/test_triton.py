"""The model repository: Triton's own schema reads it, and ONNX Runtime gives from its files what the package gives."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import TYPE_FP32, TYPE_UINT8, ModelConfig

from hasten.core.errors import InputError
from hasten.split.executor import Executor
from hasten.split.triton import tail_options, write_repository

TYPES = {"tensor(float)": TYPE_FP32, "tensor(uint8)": TYPE_UINT8}


def test_every_tail_is_a_model_that_gives_what_the_package_gives(package, tmp_path):
    names = write_repository(package, tmp_path / "models")
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == sorted(names)
    executor, frame = Executor(package), package.samples()[0][:1]
    options = tail_options(package)
    assert options == [(e, p) for e, p in package.manifest.options() if p < package.manifest.exits[e - 1].after_block]
    assert len(names) == len(options) > 2
    for name, (exit_, partition) in zip(names, options, strict=True):
        folder = tmp_path / "models" / name
        config = text_format.Parse((folder / "config.pbtxt").read_text(), ModelConfig())
        assert (config.name, config.backend, config.max_batch_size) == (name, "onnxruntime", 0)
        assert config.parameters["hasten_exit"].string_value == str(exit_)
        assert config.parameters["hasten_digest"].string_value == package.digest
        session = ort.InferenceSession(str(folder / "1" / "model.onnx"), providers=["CPUExecutionProvider"])
        tensors = executor.prefix(partition, [frame]) if partition else [frame]
        for told, there in ((config.input, session.get_inputs()), (config.output, session.get_outputs())):
            found = [(entry.name, list(entry.dims), entry.data_type) for entry in told]
            assert found == [(arg.name, list(arg.shape), TYPES[arg.type]) for arg in there]
        feed = {entry.name: tensor for entry, tensor in zip(config.input, tensors, strict=True)}
        got = session.run([entry.name for entry in config.output], feed)
        outputs = executor.outputs(partition, exit_, tensors)
        for entry, array in zip(config.output, got, strict=True):
            np.testing.assert_allclose(array[0], outputs[entry.name], rtol=1e-5, atol=1e-6)


def test_what_is_there_stays_and_a_place_that_is_none_is_refused(package, tmp_path):
    (tmp_path / "other").mkdir()
    write_repository(package, tmp_path)
    write_repository(package, tmp_path)
    assert (tmp_path / "other").is_dir()
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="a folder to write to"):
        write_repository(package, tmp_path / "file")
