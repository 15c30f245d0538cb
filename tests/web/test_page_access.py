"""axe-core, languages, widths, colours and weights."""

from __future__ import annotations

import gzip
import itertools
import re
import time
from typing import Any

import httpx
import pytest

import nodejs
import signer
from axe import fits, violations
from headcount.catalogue import LANGUAGES, catalogue, check
from headcount_node.site.assets import Assets
from headcount_spec.errors import MalformedError
from headcount_spec.scope import Manifest
from stage import Stage, shot

# Every language once with each theme in the long run; in the fast one those that differ most.
FAST = [("de", "light"), ("ar", "dark")]
ALL = [(tag, theme) for tag in LANGUAGES for theme in ("light", "dark")]
MATRIX = [
    pytest.param(tag, theme, marks=[] if (tag, theme) in FAST else pytest.mark.long, id=f"{tag}-{theme}")
    for tag, theme in ALL
]


def action(page: Any) -> Any:
    return page.locator("#app button.main-action")


@pytest.mark.parametrize(("tag", "theme"), MATRIX)
def test_every_screen_is_accessible_and_fits(
    stage: Stage, campaign: Manifest, browser: Any, tag: str, theme: str
) -> None:
    context = browser.new_context(
        viewport={"width": 320, "height": 640}, color_scheme=theme, reduced_motion="reduce"
    )
    context.set_default_timeout(15_000)
    page = context.new_page()

    def look(name: str) -> None:
        assert fits(page), name
        assert violations(page) == [], name
        shot(page, f"{name}-{tag}-{theme}")
        assert "{" not in page.locator("#content").inner_text()

    page.goto(f"{stage.url}/in/{tag}")
    look("front")
    page.goto(stage.sign(campaign, tag))
    action(page).wait_for()
    assert page.locator("html").get_attribute("dir") == catalogue(tag).direction
    look("sign")
    page.locator("#app input[type=radio]").first.check()
    action(page).click()
    page.locator("#address").wait_for()
    look("check")
    address = signer.new_address()
    page.locator("#address").fill(address)
    action(page).click()
    code = stage.code(address)
    page.locator("#code").fill("0" * 8 if code[0] != "0" else "1" * 8)
    action(page).click()
    page.get_by_role("alert").wait_for()
    look("code-refused")
    page.locator("#code").fill(code)
    look("code")
    action(page).click()
    page.locator("input[name=when]").first.wait_for()
    look("signed")
    page.locator("input[value=later]").check()
    action(page).click()
    page.locator("input[name=when]").first.wait_for(state="detached")
    page.locator("#app button", has_text=catalogue(tag).text("app.show_code")).click()
    look("later")
    action(page).click()
    page.get_by_role("heading", name=catalogue(tag).text("app.pledged")).wait_for()
    for summary in page.locator("#app summary").all():
        summary.click()
    look("pledged")
    page.goto(f"{stage.url}/audit/{tag}")
    action(page).click()
    page.locator(".verdict").wait_for()
    look("audit")
    context.close()


@pytest.mark.parametrize(
    "themes",
    [("light", "dark"), pytest.param(("dark", "light"), marks=pytest.mark.long)],
    ids=["one", "other"],
)
def test_every_page_is_accessible_in_every_language(
    stage: Stage, campaign: Manifest, browser: Any, themes: tuple[str, str]
) -> None:
    context = browser.new_context(viewport={"width": 320, "height": 640}, reduced_motion="reduce")
    page = context.new_page()
    scope = campaign.scope_id.hex()
    for tag, theme in zip(LANGUAGES, itertools.cycle(themes), strict=False):
        page.emulate_media(color_scheme=theme)
        for name, url in {
            "sign": stage.sign(campaign, tag),
            "back": f"{stage.sign(campaign, tag)}/back",
            "audit": f"{stage.url}/audit/{tag}",
            "check": f"{stage.issuer_url}/check/{scope}/{tag}",
        }.items():
            page.goto(url)
            page.locator("#content").wait_for()
            assert fits(page), (tag, name)
            assert violations(page) == [], (tag, name)
            if name == "sign":
                action(page).wait_for()
                shot(page, f"sign-{tag}-{theme}")
    context.close()


@pytest.mark.parametrize("path", ["in", "sign", "audit", "check"])
def test_without_script_everything_can_be_read(
    stage: Stage, campaign: Manifest, browser: Any, path: str
) -> None:
    context = browser.new_context(java_script_enabled=False, locale="fr-FR")
    page = context.new_page()
    page.goto(
        {
            "in": f"{stage.url}/",
            "sign": f"{stage.url}/sign/{campaign.scope_id.hex()}",
            "audit": f"{stage.url}/audit",
            "check": f"{stage.issuer_url}/check/{campaign.scope_id.hex()}",
        }[path]
    )
    assert page.locator("html").get_attribute("lang") == "fr"  # as the browser asks
    text = page.locator("#content").inner_text()
    if path == "sign":
        assert "Nous partons ensemble" in text
        assert "headcount audit" in text
        assert page.get_by_role("link", name="Les conditions en fichier").get_attribute("href")
    if path != "in":
        assert "headcount" in text
    if path == "audit":  # the command asks for it
        assert " ".join(stage.policy.read_text("utf-8").split()[:2]) in text
    context.close()


def test_pages_say_what_a_browser_must_not_do(stage: Stage, campaign: Manifest) -> None:
    for url in (
        stage.sign(campaign),
        f"{stage.issuer_url}/check/{campaign.scope_id.hex()}/en",
        f"{stage.url}/audit/en",
    ):
        answer = httpx.get(url, trust_env=False)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
        assert answer.headers["cross-origin-embedder-policy"] == "require-corp"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "camera=()" in answer.headers["permissions-policy"]
        assert "set-cookie" not in answer.headers
        for tag in re.findall(r"<(?:script|link)[^>]*(?:src|href)=\"/web/[^>]*>", answer.text):
            assert "integrity=" in tag, tag
        assert "<style" not in answer.text
        assert " style=" not in answer.text
        assert not re.search(r"<script(?![^>]*(?:src=|application/json))", answer.text)
    policy = httpx.get(stage.sign(campaign), trust_env=False).headers["content-security-policy"]
    assert f"connect-src 'self' {stage.issuer_url};" in policy


def test_the_signing_page_is_light(stage: Stage, campaign: Manifest, browser: Any) -> None:
    context = browser.new_context()
    page = context.new_page()
    loaded: list[str] = []
    page.on("response", lambda answer: loaded.append(answer.url))
    page.goto(stage.sign(campaign))
    action(page).wait_for()
    scripts = {url for url in loaded if url.endswith(".js")}
    folder = Assets().folder
    weight = sum(len(gzip.compress((folder / url.partition("/web/")[2]).read_bytes(), 9)) for url in scripts)
    assert 0 < weight <= 60 * 1024
    context.close()


@pytest.mark.long
def test_an_old_phone_on_a_slow_network_is_quick_enough(
    stage: Stage, campaign: Manifest, browser: Any
) -> None:
    context = browser.new_context()
    page = context.new_page()
    session = context.new_cdp_session(page)
    session.send("Emulation.setCPUThrottlingRate", {"rate": 4})
    page.goto(stage.sign(campaign))
    action(page).wait_for()
    metrics = {
        item["name"]: item["value"]
        for item in (session.send("Performance.enable"), session.send("Performance.getMetrics"))[1]["metrics"]
    }
    assert metrics["ScriptDuration"] <= 1.0
    signer.choose(page)
    signer.prove(page, stage, signer.new_address())
    signer.is_signed(page)
    page.get_by_label("Send it now").check()
    began = time.monotonic()
    page.get_by_role("button", name="Go on").click()
    signer.is_promised(page)
    assert time.monotonic() - began <= 1.5
    session.send("Network.enable")
    session.send(
        "Network.emulateNetworkConditions",
        {"offline": False, "latency": 400, "downloadThroughput": 50_000, "uploadThroughput": 25_000},
    )
    page.reload()
    signer.is_promised(page)
    context.close()


def luminance(colour: str) -> float:
    red, green, blue = (int(part) / 255 for part in re.findall(r"\d+", colour)[:3])
    parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (red, green, blue)]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_hue_keeps_its_contrast(stage: Stage, campaign: Manifest, browser: Any, theme: str) -> None:
    context = browser.new_context(color_scheme=theme)
    page = context.new_page()
    page.goto(stage.sign(campaign))
    found = page.evaluate(
        """() => {
        const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
        const read = (name) => {
            const probe = document.body.appendChild(document.createElement("i"));
            probe.className = name;
            canvas.fillStyle = getComputedStyle(document.documentElement).getPropertyValue(name) && name;
            probe.remove();
        };
        const colour = (value) => {
            canvas.fillStyle = value; canvas.fillRect(0, 0, 1, 1);
            return `rgb(${[...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).join(",")})`;
        };
        const root = document.documentElement;
        const names = ["--accent", "--accent-soft", "--paper", "--surface", "--on-accent", "--ink"];
        return Array.from({length: 360}, (_, hue) => {
            root.style.setProperty("--hue", String(hue));
            const style = getComputedStyle(root);
            return Object.fromEntries(names.map((name) => [name, colour(style.getPropertyValue(name))]));
        });
    }"""
    )
    assert len(found) == 360
    for hue, colours in enumerate(found):
        pairs = [
            ("--accent", "--paper"),
            ("--accent", "--surface"),
            ("--on-accent", "--accent"),
            ("--ink", "--accent-soft"),
        ]
        for one, other in pairs:
            assert contrast(colours[one], colours[other]) >= 4.5, (hue, one, other, colours)
    context.close()


@pytest.mark.parametrize("tag", LANGUAGES)
def test_a_catalogue_is_complete(tag: str) -> None:
    words = catalogue(tag)
    for change in ("missing", "extra", "name", "plural", "empty"):
        messages = dict(words.messages)
        if change == "missing":
            del messages["app.begin"]
        elif change == "extra":
            messages["app.other"] = "x"
        elif change == "name":
            messages["sign.tier"] = "without"
        elif change == "plural":
            messages["level.email"] = {"other": "x"}
        else:
            messages["app.begin"] = " "
        with pytest.raises(MalformedError):
            check(tag, messages, catalogue("en").messages)


# Of these the rest of the name is a code, a level, a state or a way to prove something.
COMPUTED = ("level.", "how.", "contact.", "state.", "error.", "trust.", "counter.", "count.parts")


def test_no_message_is_left_over() -> None:
    root = nodejs.WEB.parents[1]
    folders = [nodejs.WEB / "src", root / "client" / "headcount", root / "node" / "headcount_node"]
    files = [path for folder in folders for end in ("ts", "py", "html") for path in folder.rglob(f"*.{end}")]
    text = "".join(path.read_text("utf-8") for path in files)
    left = [name for name in catalogue("en").messages if f'"{name}"' not in text]
    assert [name for name in left if not name.startswith(COMPUTED)] == []


def test_numbers_and_days_are_the_readers() -> None:
    assert catalogue("de").number(12431) == "12.431"
    assert catalogue("ar").number(12431) == "١٢٬٤٣١"
    assert catalogue("ru").text("level.email", 21) == "подтверждённый адрес почты"
    assert catalogue("ru").text("level.email", 12431 + 3) == "подтверждённых адреса почты"
    # The year's abbreviation ends a sentence with its own full stop.
    assert catalogue("ru").text("sign.not_open", date=catalogue("ru").day(20478)).endswith("2026\u202fг.")
    assert catalogue("fr").day(20478) == "25 janvier 2026"


def test_the_build_is_the_same_again(tmp_path: Any) -> None:
    nodejs.require()
    made = nodejs.run(["build.mjs"], env={"HEADCOUNT_WEB_OUT": str(tmp_path / "again")})
    assert made.returncode == 0, made.stderr
    assert (tmp_path / "again" / "bundle.json").read_bytes() == (Assets().folder / "bundle.json").read_bytes()
