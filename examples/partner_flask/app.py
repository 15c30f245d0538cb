"""A partner's own site which shows the count and takes pledges: flask --app app run."""

import os

from flask import Flask, Response, render_template_string

from headcount_verifier import Redeemer, verifier_blueprint

CAMPAIGN = os.environ.get("CAMPAIGN", "http://localhost:8000")  # where people read and sign

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Our own page</title>
<script type="module" src="{{ campaign }}/web/headcount-counter.js" crossorigin="anonymous"></script>
<h1>Our own page</h1>
{% for scope in scopes %}
<headcount-counter href="{{ campaign }}/sign/{{ scope }}">
<a href="{{ campaign }}/sign/{{ scope }}">
<img src="{{ campaign }}/badge/{{ scope }}/en.svg" width="440" height="168" alt="Read and pledge"></a>
</headcount-counter>
{% endfor %}
<p>Pledges are taken under /pledge.</p>
"""

app = Flask(__name__)
redeemer = Redeemer.from_config("verifier.toml")
app.register_blueprint(verifier_blueprint(redeemer), url_prefix="/pledge")


@app.get("/")
def home() -> Response:
    """Links, counters and the redemption API: never the signing page itself."""
    scopes = [scope_id.hex() for scope_id in redeemer.scope_ids()]
    response = Response(render_template_string(PAGE, campaign=CAMPAIGN, scopes=scopes))
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; script-src {CAMPAIGN}; connect-src {CAMPAIGN}; img-src {CAMPAIGN}"
    )
    return response
