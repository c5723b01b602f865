"""Good plans where the exact search does not fit: beam searches under a guide, local search, recombination."""
