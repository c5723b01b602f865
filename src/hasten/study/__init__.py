"""The study: all schedulers over sweeps of conditions, the ablation of the learner, and the statistics of both."""
