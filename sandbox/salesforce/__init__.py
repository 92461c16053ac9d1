"""Stand-in for Salesforce Messaging for In-App and Web (custom clients)."""

from sandbox.salesforce.refusal import Refused
from sandbox.salesforce.standin import Salesforce
from sandbox.salesforce.switches import Switches

__all__ = ["Refused", "Salesforce", "Switches"]
