"""The runtime without real time: an event loop whose clock jumps, a processor, a link and an edge that keep to it.

A :class:`~hasten.runtime.device.agent.DeviceAgent` runs on them as it is, deterministically and some hundred times
faster than the time that passes for it.
"""
