"""Multi-exit networks: attach exits to a module by layer name, train all exits jointly, calibrate, build a package.

Everything here needs torch (``pip install hasten[build]``); a device that runs a finished package never imports it.
"""
