"""Our messages for gRPC against those that tritonclient ships: each field has the number and type it has there."""

from __future__ import annotations

from tritonclient.grpc import service_pb2

from hasten.runtime.edge.oip.messages import MESSAGES, SERVICE

NESTED = {
    "TensorMetadata": service_pb2.ModelMetadataResponse.TensorMetadata,
    "InferInputTensor": service_pb2.ModelInferRequest.InferInputTensor,
    "InferRequestedOutputTensor": service_pb2.ModelInferRequest.InferRequestedOutputTensor,
    "InferOutputTensor": service_pb2.ModelInferResponse.InferOutputTensor,
}
OURS = {("ModelMetadataResponse", "properties")}
"""In the definition of KServe, not in that of Triton."""


def test_fields_are_those_of_the_protocol():
    compared = 0
    for name, ours in MESSAGES.items():
        theirs = NESTED.get(name) or getattr(service_pb2, name)
        known = theirs.DESCRIPTOR.fields_by_name
        for field in ours.DESCRIPTOR.fields:
            if (name, field.name) in OURS:
                continue
            other = known[field.name]
            assert (field.number, field.type, field.is_repeated) == (other.number, other.type, other.is_repeated)
            compared += 1
    assert compared > 50


def test_calls_are_those_of_the_protocol():
    service = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    assert service.full_name == SERVICE
    for name in ("ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer"):
        method = service.methods_by_name[name]
        assert (method.input_type.name, method.output_type.name) == (f"{name}Request", f"{name}Response")


def test_numbers_may_come_typed_instead_of_as_bytes():
    theirs = service_pb2.ModelInferRequest(model_name="m", id="7")
    given = theirs.inputs.add(name="x", datatype="FP32", shape=[1, 2])
    given.contents.fp32_contents.extend([0.5, 2.0])
    theirs.parameters["exit"].int64_param = 3
    ours = MESSAGES["ModelInferRequest"].FromString(theirs.SerializeToString())
    assert list(ours.inputs[0].contents.fp32_contents) == [0.5, 2.0]
    assert ours.parameters["exit"].WhichOneof("parameter_choice") == "int64_param"
    assert ours.SerializeToString(deterministic=True) == theirs.SerializeToString(deterministic=True)
