"""The verifier below /pledge of a site that is not Flask's: Django, or any other WSGI application.

In a Django project this is the project's ``wsgi.py``, with ``DJANGO_SETTINGS_MODULE`` set; without Django the
site is the ten lines of ``own_site``. Serve it with any WSGI server.
"""

import os
from pathlib import Path

from werkzeug.middleware.dispatcher import DispatcherMiddleware

from headcount_verifier import VerifierConfig, create_app


def own_site(environ, start_response):
    """What stands for a site of one's own."""
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
    return [b"Our own page. Pledges are taken under /pledge.\n"]


if "DJANGO_SETTINGS_MODULE" in os.environ:
    from django.core.wsgi import get_wsgi_application

    own_site = get_wsgi_application()

verifier = create_app(VerifierConfig.from_file(Path(os.environ.get("VERIFIER", "verifier.toml"))))
application = DispatcherMiddleware(own_site, {"/pledge": verifier})
