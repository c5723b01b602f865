"""Cutting a multi-exit network: graph analysis, the package file, the codec, the executor and the proof of equality.

Reading and running a package (``package``, ``codec``, ``executor``, ``verify``, ``inspect``) needs no torch; building
one (``export``, ``graph``, ``build``) does.
"""
