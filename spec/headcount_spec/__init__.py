"""The Headcount protocol as pure functions: no I/O, no clock, no randomness.

spec/protocol.md is the normative text; the modules are named after its nouns.
"""
