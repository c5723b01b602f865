"""Measured profiles and overheads, real runs held against simulated ones, and what a machine is fit for."""
