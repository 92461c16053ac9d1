"""All that the doors share: the handoff domain and the systems around it. Knows no azure.functions."""
