"""The device's side: the agent, what it believes of link and edge, its decisions, and what becomes of every task."""
