"""Stand-in for the Messaging APIs of Dynamics 365: a custom channel, its webhook, and the representative's side."""

from sandbox.dynamics_messaging.standin import CHANNEL_ID, DynamicsMessaging, audience
from sandbox.dynamics_messaging.switches import Switches

__all__ = ["CHANNEL_ID", "DynamicsMessaging", "Switches", "audience"]
