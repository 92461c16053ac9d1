"""A stand-in for the Dataverse Web API v9.2, refusing what the real service refuses."""
