"""Deciding whether a change made a user's networks slower or less accurate."""
