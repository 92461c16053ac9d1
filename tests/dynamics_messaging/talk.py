"""What two people do in a conversation, and what each of them sees."""

from shared.relay.model import Conversation
from tests.dynamics_messaging.organisation import Organisation

SEND = r"/conversation/[0-9a-f-]{36}$"
MESSAGES = r"/messages\?"


def say(org: Organisation, conversation: Conversation, *texts: str) -> None:
    """The rep writes, and the webhook delivers."""
    for text in texts:
        org.clock.advance(1)
        org.standin.rep.say(conversation.conversation_id, text)
    org.settle()


def customer_lines(org: Organisation, conversation: Conversation) -> list[str]:
    """What the rep sees of the customer, in order."""
    lines = org.standin.conversation(conversation.conversation_id)["rep_sees"]
    return [line["text"] for line in lines if line["by"] == "customer"]


def run(org: Organisation, conversation: Conversation, *, steps: int = 6, seconds: float = 30) -> None:
    """Looks, each by a process of its own, as time goes by."""
    for _ in range(steps):
        org.step(conversation, org.worker())
        org.clock.advance(seconds)
