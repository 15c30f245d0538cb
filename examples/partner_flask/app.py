"""A partner's own site which takes pledges: flask --app app run."""

from flask import Flask

from headcount_verifier import Redeemer, verifier_blueprint

app = Flask(__name__)
app.register_blueprint(verifier_blueprint(Redeemer.from_config("verifier.toml")), url_prefix="/pledge")


@app.get("/")
def home() -> str:
    return "Our own page. Pledges are taken under /pledge.\n"
