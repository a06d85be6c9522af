"""sshd: OpenSSH's server, with keys of its own, for whoever runs the tests."""

from __future__ import annotations

import getpass
import os
import subprocess
from pathlib import Path

from tests.servers import Facts, Server, free_port, needed


def start(server: Server, *, options: str = "") -> Facts:
    """Start it; it takes one key, and shows the whole machine to who has that, as it does on any host.

    The options are those of sftp-server, which can be told what not to do.
    """
    program = needed("sshd", to_install="apt-get install openssh-server")
    sftp_server = needed("sftp-server", Path("/usr/lib/openssh"), to_install="apt-get install openssh-sftp-server")
    folder, port = server.folder, free_port()
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    settings = {
        "Port": port,
        "ListenAddress": "127.0.0.1",
        "HostKey": folder / "host",
        "AuthorizedKeysFile": folder / "user.pub",
        "Subsystem": f"sftp {sftp_server} {options}",
        "PidFile": "none",
        "StrictModes": "no",
        "UsePAM": "no",
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "MaxStartups": 100,
    }
    (folder / "config").write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    if os.geteuid() == 0:
        # Debian makes it when the service starts, which it does not here.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    server.run([program, "-D", "-e", "-f", folder / "config"])
    server.wait_for(port)
    public = (folder / "host.pub").read_text().split()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {public[0]} {public[1]}\n")
    return {"port": str(port), "user": getpass.getuser(), "folder": str(folder)}


def trust(facts: Facts, home: Path) -> None:
    """Write a ~/.ssh/config with which every tool of SSH reaches it as `depot-host`, at whatever port."""
    folder = Path(facts["folder"])
    settings = {
        "HostName": "127.0.0.1",
        "Port": facts["port"],
        "User": facts["user"],
        "IdentityFile": folder / "user",
        "UserKnownHostsFile": folder / "known_hosts",
        "HostKeyAlias": f"[127.0.0.1]:{facts['port']}",
    }
    (home / ".ssh").mkdir(mode=0o700, exist_ok=True)
    lines = [f"  {name} {value}\n" for name, value in settings.items()]
    (home / ".ssh" / "config").write_text("Host depot-host\n" + "".join(lines))
