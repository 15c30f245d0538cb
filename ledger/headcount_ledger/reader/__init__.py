"""Somebody's published ledger, read over HTTP or from a folder and proven under a trust policy.

Needs no database and no key: the client and mirrors read through it. Each part is imported by its module.
"""
