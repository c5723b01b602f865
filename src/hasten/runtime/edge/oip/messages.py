"""The protocol's messages for gRPC, as its public definition numbers and types their fields.

Made when they are needed, in a pool of their own: a program that also uses another library with these messages can do
so. Messages that the definition nests in others stand beside them here, which looks the same on the wire.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

PACKAGE, SERVICE = "inference", "inference.GRPCInferenceService"

_DEFINITION = """
ServerLiveRequest
ServerLiveResponse: bool live 1
ServerReadyRequest
ServerReadyResponse: bool ready 1
ModelReadyRequest: string name 1, string version 2
ModelReadyResponse: bool ready 1
ServerMetadataRequest
ServerMetadataResponse: string name 1, string version 2, string* extensions 3
ModelMetadataRequest: string name 1, string version 2
TensorMetadata: string name 1, string datatype 2, int64* shape 3
ModelMetadataResponse: string name 1, string* versions 2, string platform 3, TensorMetadata* inputs 4, \
    TensorMetadata* outputs 5, map:string properties 6
InferParameter: bool? bool_param 1, int64? int64_param 2, string? string_param 3, double? double_param 4, \
    uint64? uint64_param 5
InferTensorContents: bool* bool_contents 1, int32* int_contents 2, int64* int64_contents 3, uint32* uint_contents 4, \
    uint64* uint64_contents 5, float* fp32_contents 6, double* fp64_contents 7, bytes* bytes_contents 8
InferInputTensor: string name 1, string datatype 2, int64* shape 3, map:InferParameter parameters 4, \
    InferTensorContents contents 5
InferRequestedOutputTensor: string name 1, map:InferParameter parameters 2
ModelInferRequest: string model_name 1, string model_version 2, string id 3, map:InferParameter parameters 4, \
    InferInputTensor* inputs 5, InferRequestedOutputTensor* outputs 6, bytes* raw_input_contents 7
InferOutputTensor: string name 1, string datatype 2, int64* shape 3, map:InferParameter parameters 4, \
    InferTensorContents contents 5
ModelInferResponse: string model_name 1, string model_version 2, string id 3, map:InferParameter parameters 4, \
    InferOutputTensor* outputs 5, bytes* raw_output_contents 6
"""
"""Message: type name number, ...; ``*`` repeated, ``?`` one of these, ``map:`` from strings."""

_SCALARS = ("bool", "int32", "int64", "uint32", "uint64", "float", "double", "string", "bytes")


def _file() -> FileDescriptorProto:
    file = FileDescriptorProto(name="hasten/open_inference.proto", package=PACKAGE, syntax="proto3")
    for line in _DEFINITION.replace("\\\n", "").strip().splitlines():
        name, _, fields = line.partition(":")
        message = file.message_type.add(name=name)
        for field in filter(None, fields.split(",")):
            _add(message, *field.split())
    return file


def _add(message: DescriptorProto, kind: str, name: str, number: str) -> None:
    field = message.field.add(name=name, number=int(number), label=FieldDescriptorProto.LABEL_OPTIONAL)
    if kind.startswith("map:"):
        entry = message.nested_type.add(name=f"{name.title().replace('_', '')}Entry")
        entry.options.map_entry = True
        _add(entry, "string", "key", "1")
        _add(entry, kind.removeprefix("map:"), "value", "2")
        kind = f"{message.name}.{entry.name}*"
    if kind.endswith("*"):
        field.label = FieldDescriptorProto.LABEL_REPEATED
    if kind.endswith("?"):
        if not message.oneof_decl:
            message.oneof_decl.add(name="parameter_choice")
        field.oneof_index = 0
    kind = kind.rstrip("*?")
    if kind in _SCALARS:
        field.type = FieldDescriptorProto.Type.Value(f"TYPE_{kind.upper()}")
    else:
        field.type = FieldDescriptorProto.TYPE_MESSAGE
        field.type_name = f".{PACKAGE}.{kind}"


def _classes() -> dict[str, Any]:
    pool = DescriptorPool()
    file = _file()
    pool.Add(file)
    return {
        message.name: GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{message.name}"))
        for message in file.message_type
    }


MESSAGES = _classes()
"""Name -> class."""
