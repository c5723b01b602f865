"""The exact search: dynamic programming over known arrivals by Pareto label-setting."""
