"""Runs on one machine: real processes for devices, edge and an emulated link, and their results."""
