"""The Open Inference Protocol, version 2, over HTTP and gRPC: a second door around the edge's core.

A model is a package, its version the package's digest. A request may say with which ``exit`` and from which
``partition`` it is to be run, and by when.
"""
