"""A witness, c2sp.org/tlog-witness: cosigns the checkpoints of logs, each only if it extends the one before.

A witness sees no entries. All that it keeps of a log is its last checkpoint, and what it refused of it.
"""
