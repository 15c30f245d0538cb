"""The verifier: takes finished pledges and hands them to the ledger, for a partner's own Flask site.

    from headcount_verifier import Redeemer, verifier_blueprint
    app.register_blueprint(verifier_blueprint(Redeemer.from_config("verifier.toml")), url_prefix="/pledge")

It learns the pledge and never who made it: no cookies, no log of a pledge, no database of its own but
the sealed contacts, where it keeps any.
"""

from headcount_verifier.app import LinkPages, create_app, verifier_blueprint
from headcount_verifier.config import VerifierConfig
from headcount_verifier.contacts import Contacts
from headcount_verifier.ledger_client import LedgerClient
from headcount_verifier.links import Links
from headcount_verifier.receiver import Event, WebhookReceiver
from headcount_verifier.redeemer import Redeemer, Submitter

__all__ = [
    "Contacts",
    "Event",
    "LedgerClient",
    "LinkPages",
    "Links",
    "Redeemer",
    "Submitter",
    "VerifierConfig",
    "WebhookReceiver",
    "create_app",
    "verifier_blueprint",
]
