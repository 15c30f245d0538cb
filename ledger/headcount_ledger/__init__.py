"""The ledger: what is accepted, sealed into batches and published as static files."""
