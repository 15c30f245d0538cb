from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import TestResponse

import chromium
from contact_story import Story
from headcount import trustee_commands
from headcount.terminal import FOLDER
from headcount.trustee_commands import _Desk
from headcount.trustee_page import COOKIE, Page
from headcount.trustee_words import ENGLISH, LANGUAGES, words_for
from test_servers import served

LEDGER = "http://localhost:8000/ledger"
HOST = "127.0.0.1:4711"
