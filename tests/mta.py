"""A real mail transfer agent for tests: Debian's Postfix, in a folder and on a port of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

POSTFIX = shutil.which("postfix", path="/usr/sbin:/usr/bin:/sbin")
IS_USABLE = POSTFIX is not None and os.geteuid() == 0

_MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
pickup    unix n - n 60 1 pickup
cleanup   unix n - n - 0 cleanup
qmgr      unix n - n 300 1 qmgr
rewrite   unix - - n - - trivial-rewrite
bounce    unix - - n - 0 bounce
defer     unix - - n - 0 bounce
trace     unix - - n - 0 bounce
verify    unix - - n - 1 verify
proxymap  unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp      unix - - n - - smtp
relay     unix - - n - - smtp
error     unix - - n - - error
retry     unix - - n - - error
discard   unix - - n - - discard
virtual   unix - n n - - virtual
anvil     unix - - n - 1 anvil
scache    unix - - n - 1 scache
postlog   unix-dgram n - n - 1 postlogd
"""

_MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file = {folder}/log/mail.log
maillog_file_prefixes = {folder}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mta.example
mydestination =
mynetworks = 127.0.0.0/8
alias_maps =
alias_database =
local_recipient_maps =
virtual_mailbox_domains = people.example
virtual_mailbox_base = {folder}/mail
virtual_mailbox_maps = inline:{{ ada@people.example=ada/, 用户@people.example=user/ }}
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
virtual_minimum_uid = 1
virtual_mailbox_limit = 0
smtpd_recipient_restrictions = permit_mynetworks, reject
smtpd_reject_unlisted_recipient = yes
smtputf8_enable = yes
default_transport = error:5.1.2 nowhere else
append_dot_mydomain = no
biff = no
"""


class Postfix:
    """A running one."""

    def __init__(self, folder: Path, port: int) -> None:
        self.port = port
        self._folder = folder

    def mails(self, person: str, number: int = 1, timeout_s: float = 20) -> list[bytes]:
        """What was delivered into somebody's maildir, once there is so much."""
        deadline = time.monotonic() + timeout_s
        while True:
            found = sorted((self._folder / "mail" / person / "new").glob("*"))
            if len(found) >= number:
                return [path.read_bytes() for path in found]
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.05)

    def log(self) -> str:
        """The log of the mail server."""
        path = self._folder / "log" / "mail.log"
        return path.read_text() if path.exists() else ""


@contextmanager
def postfix(folder: Path, port: int) -> Iterator[Postfix]:
    """Run one; needs root, as it changes users."""
    owner = pwd.getpwnam("postfix")
    for parent in (folder, *folder.parents):
        if parent.stat().st_uid == os.geteuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o011)  # its daemons are other users
    for name in ("etc", "queue", "data", "mail", "log"):
        (folder / name).mkdir()
    for name in ("data", "mail", "log"):
        os.chown(folder / name, owner.pw_uid, owner.pw_gid)
    (folder / "etc" / "main.cf").write_text(
        _MAIN.format(folder=folder, uid=owner.pw_uid, gid=owner.pw_gid), "utf-8"
    )
    (folder / "etc" / "master.cf").write_text(_MASTER.format(port=port))
    assert POSTFIX is not None
    command = [POSTFIX, "-c", str(folder / "etc")]
    started = subprocess.run([*command, "start"], capture_output=True, text=True, timeout=60, check=False)
    running = Postfix(folder, port)
    try:
        assert started.returncode == 0, started.stderr + running.log()
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield running
    finally:
        subprocess.run([*command, "stop"], capture_output=True, timeout=60, check=False)
