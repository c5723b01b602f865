"""Good plans where the exact search does not fit: beam searches under a heuristic, local search, recombination."""
