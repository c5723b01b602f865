"""The runtime: device agents, the edge node, and an emulated link between them."""
