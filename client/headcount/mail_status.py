"""What a mail server's status says about an address (RFC 3463), at the door or in a mail that comes back.

5.1.x is about the address, 5.2.1 a mailbox that takes nothing any more, 5.4.4 no route to its domain. But
5.1.7 and 5.1.8 are about the sender's, and so is 5.7.x: a server that does not relay for us says it to all.
"""

from __future__ import annotations

import re

_STATUS = re.compile(r"\A\s*([245])\.([0-9]{1,3})\.([0-9]{1,3})\b")
_DEAD = re.compile(r"\A5\.(?:1\.(?!7\Z|8\Z)[0-9]+|2\.1|4\.4)\Z")


def read_status(text: str) -> str | None:
    """The status at the beginning of a text, as "5.1.1"; None if there is none."""
    found = _STATUS.match(text)
    return None if found is None else ".".join(found.groups())


def is_dead(status: str | None) -> bool:
    """Whether there is nobody at the address."""
    return status is not None and _DEAD.match(status) is not None
