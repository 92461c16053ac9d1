"""The domain: what a handoff is, what is written for it, and the one use case. No Azure, no HTTP in here."""
