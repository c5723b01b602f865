"""What a learned policy observes of a decision: of actions or of afterstates, in batches or one at a time."""
