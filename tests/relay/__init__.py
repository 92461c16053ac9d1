"""The relay on doubles of its three neighbours, with a fault at every call."""
