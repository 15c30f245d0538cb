"""A partner's own site which shows the count, takes pledges, and is told how the count moves."""

import os
from pathlib import Path

from flask import Flask, Response, abort, render_template_string, request

from headcount_spec.errors import ProtocolError
from headcount_verifier import Event, Redeemer, WebhookReceiver, verifier_blueprint

CAMPAIGN = os.environ.get("CAMPAIGN", "http://localhost:8000")  # where people read and sign

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Our own page</title>
<script type="module" crossorigin="anonymous" referrerpolicy="no-referrer"
  src="{{ campaign }}/web/headcount-counter.js"></script>
<h1>Our own page</h1>
{% for scope in scopes %}
<headcount-counter href="{{ campaign }}/sign/{{ scope }}">
<a href="{{ campaign }}/sign/{{ scope }}">
<img src="{{ campaign }}/badge/{{ scope }}/en.svg" width="440" height="168" alt="Read and pledge"></a>
</headcount-counter>
{% endfor %}
<p>Pledges are taken under /pledge.</p>
{% for line in news %}<p>{{ line }}</p>{% endfor %}
"""
NEWS = Path("news.txt")

app = Flask(__name__)
redeemer = Redeemer.from_config("verifier.toml")
app.register_blueprint(verifier_blueprint(redeemer), url_prefix="/pledge")
key = Path("webhook.key")
hooks = WebhookReceiver.from_files(key, "webhooks.sqlite") if key.exists() else None


@app.get("/")
def home() -> Response:
    """Links, counters and the redemption API: never the signing page itself."""
    scopes = [scope_id.hex() for scope_id in redeemer.scope_ids()]
    news = NEWS.read_text("utf-8").splitlines() if NEWS.exists() else []
    response = Response(render_template_string(PAGE, campaign=CAMPAIGN, scopes=scopes, news=news))
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; script-src {CAMPAIGN}; connect-src {CAMPAIGN}; img-src {CAMPAIGN}"
    )
    return response


@app.post("/hooks/headcount")
def hook() -> tuple[str, int]:
    """Told by the campaign's verifier, once for each event however often it is sent."""
    if hooks is None:
        abort(404)
    try:
        hooks.take(request.headers, request.get_data(), note)
    except ProtocolError as error:
        return error.code, error.status
    return "", 204


def note(event: Event) -> None:
    """What a site does with the news; if this raises, the event is sent again."""
    with NEWS.open("a", encoding="utf-8") as file:
        file.write(f"{event.data['day']} {event.type}: {event.data.get('live')}\n")
