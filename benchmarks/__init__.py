"""Timing, records and the report; imports without torch."""
