"""Cutting a multi-exit network: graph analysis, the package file, codecs, the executor and the proof of equality.

Reading and running a package (``package``, ``codecs``, ``executor``, ``verify``, ``inspect``) needs no torch; building
one (``export``, ``graph``, ``build``) does.
"""
