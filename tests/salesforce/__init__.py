"""Salesforce's side of the service, against the stand-in over HTTP."""
