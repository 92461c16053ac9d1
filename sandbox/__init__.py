"""Stand-ins and the local Functions host: what a developer's machine lacks. Never deployed."""
