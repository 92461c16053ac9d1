"""The stand-ins, checked by clients that nobody here wrote."""
