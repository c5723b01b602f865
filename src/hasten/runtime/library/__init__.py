"""The device side, and the edge, inside somebody's program."""
