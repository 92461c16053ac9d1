"""The records of handoffs in Azure Table Storage: written before the first outside call, never blindly."""
