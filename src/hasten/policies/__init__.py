"""Trained policies: their file, what they make of an observation, and the guard that keeps to their training range."""
