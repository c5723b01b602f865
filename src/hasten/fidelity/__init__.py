"""How true predictions are: measured profiles and overheads, and real runs held against simulated ones."""
