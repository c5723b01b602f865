"""The live page: a run, a finished run or an edge, as it is seen in a browser."""
