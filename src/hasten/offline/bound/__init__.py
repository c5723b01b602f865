"""Upper bounds by Lagrangian relaxation: prices of uplink and edge time, multipliers of the order of service."""
