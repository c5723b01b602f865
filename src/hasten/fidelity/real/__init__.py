"""``hasten study real``: the learned scheduler's gain simulated, in virtual time and in real processes."""
