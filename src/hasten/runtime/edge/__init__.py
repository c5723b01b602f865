"""The edge node: a core that knows neither sockets nor frames, and the server around it."""
