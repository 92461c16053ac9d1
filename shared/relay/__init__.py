"""Messages both ways while a conversation is open, whatever system the rep works in."""
