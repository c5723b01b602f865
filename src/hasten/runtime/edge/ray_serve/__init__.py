"""An edge whose tasks are computed by replicas on Ray Serve."""
