"""Settings, secrets and the clock."""
