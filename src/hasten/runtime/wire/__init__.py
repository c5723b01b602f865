"""What devices and edge say to each other: frames and the bodies in them."""
