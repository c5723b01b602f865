"""The ground floor: profiles, scenarios, the timing law, gain, decisions and results. No torch, no sockets."""
