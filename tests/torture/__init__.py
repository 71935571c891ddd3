"""Torture: real processes killed at random moments under load; nothing may be lost, doubled or wrong."""
