"""Chats through the Messaging APIs, against the stand-in."""
